// Draws the README's picture of the page in training: node web/picture.mjs FILE.png, after scripts/browser page.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { serve } from "./serve.mjs";

const [file] = process.argv.slice(2);
const tools = fileURLToPath(new URL("../target/browser/package.json", import.meta.url));
const { chromium } = createRequire(tools)("playwright-core");
const { server, address } = await serve([fileURLToPath(new URL("dist", import.meta.url))]);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, chromiumSandbox: false });
const page = await browser.newPage({ viewport: { width: 1200, height: 980 }, colorScheme: "light" });
await page.goto(`${address}?epochs=4`);
await page.waitForSelector("html[data-ready]");

// A two, by mouse.
const box = await page.locator("#pad").boundingBox();
const points = [[0.3, 0.35], [0.36, 0.24], [0.5, 0.19], [0.64, 0.25], [0.67, 0.38], [0.58, 0.53], [0.42, 0.68], [0.3, 0.8], [0.5, 0.79], [0.72, 0.8]];
const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
await page.mouse.move(...at(points[0]));
await page.mouse.down();
for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 4 });
await page.mouse.up();

await page.click("#start");
await page.waitForFunction(() => /^Epoch 4 of 4, step 6/.test(document.querySelector("#status").textContent), null, { timeout: 300_000 });
await page.screenshot({ path: file });
await browser.close();
server.close();

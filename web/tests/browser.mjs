// A browser for the tests: Debian's Chromium with WebGPU on SwiftShader, its software device, and what people do on the page.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { serve } from "../serve.mjs";

const tools = resolve(process.env.TOOLS);
export const { chromium } = createRequire(join(tools, "package.json"))("playwright-core");
export const AXE = join(tools, "node_modules/axe-core/axe.min.js");
/** What examples/page_reference.rs wrote. */
export const REFERENCE = resolve(process.env.REFERENCE);
/** The command line's program. */
export const PROGRAM = resolve(process.env.PROGRAM);

const WITH_GPU = [
    "--enable-unsafe-webgpu",
    "--enable-features=Vulkan",
    "--use-webgpu-adapter=swiftshader",
    "--enable-unsafe-swiftshader",
];
const WITHOUT_GPU = ["--disable-features=WebGPUService,WebGPU", "--disable-gpu"];

const { server, address } = await serve([join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../dist"), REFERENCE]);
export { address };

let browsers = {};
export async function end() {
    await Promise.all(Object.values(browsers).map(async (browser) => (await browser).close()));
    server.close();
    server.closeAllConnections?.();
}

/**
 * A fresh page, ready to be drawn on. What it reports as an error fails the test that opened it, by `page.errors`.
 * `before` is called with the page before anything is loaded.
 */
export async function open({ query = "", gpu = true, before = () => {}, ...options } = {}) {
    browsers[gpu] ??= chromium.launch({
        executablePath: process.env.CHROMIUM,
        args: gpu ? WITH_GPU : WITHOUT_GPU,
        chromiumSandbox: false, // root has none
    });
    const context = await (await browsers[gpu]).newContext({ viewport: { width: 1366, height: 768 }, ...options });
    const page = await context.newPage();
    page.errors = [];
    page.on("pageerror", ({ message }) => page.errors.push(message));
    page.on("console", (message) => message.type() === "error" && page.errors.push(message.text()));
    await before(page);
    await page.goto(address + query);
    await page.waitForSelector("html[data-ready]");
    return page;
}

/** Draws strokes: lists of points, in shares of the pad. */
export async function draw(page, ...strokes) {
    const box = await page.locator("#pad").boundingBox();
    const move = ([x, y], options) => page.mouse.move(box.x + x * box.width, box.y + y * box.height, options);
    for (const [first, ...rest] of strokes) {
        await move(first);
        await page.mouse.down();
        for (const point of rest) await move(point, { steps: 6 });
        await page.mouse.up();
    }
}

export const FOUR = [
    [[0.35, 0.2], [0.25, 0.55], [0.72, 0.55]],
    [[0.6, 0.2], [0.6, 0.85]],
];

/** What the page says of the drawing, once it says anything. */
export async function verdict(page) {
    await page.waitForFunction(() => document.querySelector("#verdict").textContent.trim());
    return (await page.textContent("#verdict")).trim();
}

/** The bars' shares. */
export const shares = (page) =>
    page.locator("#bars .share").evaluateAll((shares) => shares.map(({ textContent }) => parseFloat(textContent) / 100));

/** Waits until the status matches, and returns it. */
export async function status(page, pattern, timeout = 120_000) {
    await page.waitForFunction((text) => new RegExp(text).test(document.querySelector("#status").textContent), pattern.source, { timeout });
    return page.textContent("#status");
}

/** A program that imports the crate's JavaScript in a worker, as the page does: `body` has `crate` and gets `args`. */
export function inWorker(page, body, args) {
    const source = `
        import * as crate from ${JSON.stringify(`${address}mnist_wgpu_web.js`)};
        onmessage = async ({ data }) => {
            try {
                const memory = (await crate.default()).memory;
                postMessage({ value: await (${body})(crate, data, memory) });
            } catch (error) {
                postMessage({ error: error.message ?? String(error) });
            }
        };`;
    return page.evaluate(
        ([source, args]) =>
            new Promise((resolve, reject) => {
                const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
                const worker = new Worker(url, { type: "module" });
                worker.onerror = ({ message }) => reject(new Error(message || "the worker does not start"));
                worker.onmessage = ({ data: { value, error } }) => {
                    worker.terminate();
                    error === undefined ? resolve(value) : reject(new Error(error));
                };
                worker.postMessage(args);
            }),
        [source, args],
    );
}

// A browser for the tests: Debian's Chromium with WebGPU on SwiftShader, its software device, and what people do on the
// page.

import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
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

const { server, address } = await serve([fileURLToPath(new URL("../dist", import.meta.url)), REFERENCE]);

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

/** A four of two strokes, of which the first is a one. */
export const FOUR = [
    [[0.6, 0.2], [0.6, 0.85]],
    [[0.35, 0.2], [0.25, 0.55], [0.72, 0.55]],
];

/** Waits until the page reads `text`. */
export function reads(page, text) {
    const is = (text) => document.querySelector("#verdict").textContent.trim() === text;
    return page.waitForFunction(is, text).catch(async () => {
        throw new Error(`expected ${JSON.stringify(text)}, the page reads ${JSON.stringify(await page.textContent("#verdict"))}`);
    });
}

/** The bars' shares. */
export const shares = (page) =>
    page.locator("#bars .share").evaluateAll((shares) => shares.map(({ textContent }) => parseFloat(textContent) / 100));

/** Waits until the status matches, and returns it. */
export async function status(page, pattern, timeout = 120_000) {
    await page.waitForFunction((text) => new RegExp(text).test(document.querySelector("#status").textContent), pattern.source, { timeout });
    return page.textContent("#status");
}

/**
 * What `body`, the text of a function, returns in a worker, where it gets the crate's JavaScript, `args` and the crate's
 * memory.
 */
export function inWorker(page, body, args) {
    const name = `harness-${(harnesses += 1)}.js`;
    const source = `
        import * as crate from "./mnist_wgpu_web.js";
        onmessage = async ({ data }) => {
            try {
                const { memory } = await crate.default({ module_or_path: "mnist_wgpu_web_bg.wasm" });
                postMessage({ value: await (${body})(crate, data, memory) });
            } catch (error) {
                postMessage({ error: error.message ?? String(error) });
            }
        };`;
    writeFileSync(join(REFERENCE, name), source);
    return page.evaluate(
        ([name, args]) =>
            new Promise((resolve, reject) => {
                const worker = new Worker(name, { type: "module" });
                worker.onerror = ({ message }) => reject(new Error(message || "the worker does not start"));
                worker.onmessage = ({ data: { value, error } }) => {
                    worker.terminate();
                    error === undefined ? resolve(value) : reject(new Error(error));
                };
                worker.postMessage(args);
            }),
        [name, args],
    );
}
let harnesses = 0;

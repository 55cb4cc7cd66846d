// Compiles in Chromium what examples/pipelines.rs printed. scripts/browser calls it, with the folder of pipelines.json
// and of playwright-core, and with the browser's program in CHROMIUM.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const tools = resolve(process.argv[2]);
const { chromium } = createRequire(join(tools, "package.json"))("playwright-core");

// A training step's pipelines are to compile within AIM together. Tint takes a fiftieth of the time. SwiftShader takes
// the rest, to make machine code of what Tint puts out: it zeroes workgroup memory number by number, and unrolls what
// it can. What is held against LIMIT is processor time, as a busy machine's clock may show several times as much;
// processor time grew by half at most. One machine took 4 s, another, slow and shared, 10: the limit finds what takes
// several times as long.
const AIM = 1000; // ms
const LIMIT = 20_000;
const STUCK = 120_000; // ms by the clock for one pipeline or for anything else

// Chromium's software device, so that every machine tells the same.
const SWIFTSHADER = [
    "--enable-unsafe-webgpu",
    "--enable-features=Vulkan",
    "--use-webgpu-adapter=swiftshader",
    "--enable-unsafe-swiftshader",
];

// What must be refused, before and after all else: a browser that takes these would take anything.
const WRONG = [
    { wgsl: "@compute @workgroup_size(1) fn main() { let a = 1u; _ = a | a << 4u; }", says: "parenthes" },
    { wgsl: "@compute @workgroup_size(1) fn main() {}", constants: { SIZE: 1 }, says: "SIZE" },
].map((wrong) => ({ op: "a wrong shader", entry: "main", constants: {}, ...wrong }));

class Failure extends Error {}

// In the page: opens a device, and says which; null if there is none.
async function open() {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) return null;
    globalThis.device = await adapter.requestDevice();
    device.lost.then(({ message }) => { globalThis.lost = message || "no reason given"; });
    const { vendor, architecture, description } = adapter.info;
    return [vendor, architecture, description].filter(Boolean).join(" ");
}

// In the page: compiles one pipeline. What the compiler has to say comes with its line, or without one.
async function compile({ op, wgsl, entry, constants }) {
    const scopes = ["validation", "internal", "out-of-memory"];
    scopes.forEach((scope) => device.pushErrorScope(scope));
    const start = performance.now();
    const module = device.createShaderModule({ label: op, code: wgsl });
    const { messages } = await module.getCompilationInfo();
    const said = messages.map(({ type, lineNum, message }) => ({ type, line: lineNum, message }));
    const errors = new Set();
    await device
        .createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: entry, constants } })
        .catch(({ message }) => errors.add(message));
    const ms = performance.now() - start;
    for (const _ of scopes) {
        const error = await device.popErrorScope();
        if (error) errors.add(error.message);
    }
    if (globalThis.lost) errors.add(`the device was lost: ${lost}`); // a lost device refuses nothing
    // The other errors follow from those that have a line.
    if (!said.some(({ type }) => type === "error")) {
        said.push(...[...errors].map((message) => ({ type: "error", message })));
    }
    return { ms, said, refused: said.some(({ type }) => type === "error") };
}

// What comes of `promise`. If nothing does, or not in time, `what` failed.
async function within(what, promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`nothing came back within ${STUCK / 1000} s`)), STUCK);
    });
    try {
        return await Promise.race([promise, late]);
    } catch ({ message }) {
        throw new Failure(`${what}: ${message.split("\n")[0]}`);
    } finally {
        clearTimeout(timer);
    }
}

function describe({ op, entry, wgsl }, { type, line, message }) {
    const text = line ? `, line ${line}: ${type}: ${message}\n    ${wgsl.split("\n")[line - 1]?.trim()}` : `: ${type}: ${message}`;
    return `${op}, ${entry}${text}`;
}

function row(clock, processor, text) {
    console.log(`${clock.padStart(8)} ${processor.padStart(8)}  ${text}`);
}

// Compiles `pipelines` one after the other, with a line for each. Returns the processor time of all, and what was said
// of them.
async function table(page, processorTime, title, pipelines) {
    console.log(`\n${title}`);
    row("clock ms", "CPU ms", "pipeline");
    const sum = { clock: 0, processor: 0, refused: 0, said: new Set() };
    for (const pipeline of pipelines) {
        const name = `${pipeline.op}, ${pipeline.entry}`;
        const before = await processorTime();
        const { ms, said, refused } = await within(name, page.evaluate(compile, pipeline));
        const processor = (await processorTime()) - before;
        const constants = Object.entries(pipeline.constants).map(([key, value]) => `  ${key}=${value}`).join("");
        row(ms.toFixed(0), processor.toFixed(0), `${name}${refused ? "  REFUSED" : ""}${constants}`);
        sum.clock += ms;
        sum.processor += processor;
        sum.refused += refused ? 1 : 0;
        said.forEach((message) => sum.said.add(describe(pipeline, message)));
    }
    row(sum.clock.toFixed(0), sum.processor.toFixed(0), "together");
    return sum;
}

async function refuses(page) {
    for (const wrong of WRONG) {
        const { said } = await within(wrong.op, page.evaluate(compile, wrong));
        if (!said.some(({ type, message }) => type === "error" && message.includes(wrong.says))) {
            throw new Failure(`the browser did not refuse ${JSON.stringify(wrong)} as it should; it said ${JSON.stringify(said)}`);
        }
    }
}

async function check(browser) {
    const { training, evaluation, files } = JSON.parse(readFileSync(join(tools, "pipelines.json"), "utf8"));
    if (![training, evaluation, files].every((part) => part.length)) throw new Failure("pipelines.json lacks a part");
    // A second time it would be taken from a cache.
    const known = new Set();
    const fresh = (pipelines) => pipelines.filter((p) => !known.has(JSON.stringify(p)) && known.add(JSON.stringify(p)));

    // WebGPU is for secure pages, which this one is by its address. It does not come over the network.
    const page = await browser.newPage();
    await page.route("**", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
    await page.goto("https://localhost/");
    const device = await within("opening a device", page.evaluate(open));
    if (!device?.includes("swiftshader")) {
        throw new Failure(
            `Chromium ${browser.version()} (${process.env.CHROMIUM}) offers ${device ?? "no WebGPU adapter"}. What is needed is ` +
                "SwiftShader, which a current Chromium or Chrome has, Debian's `chromium` for one: install or update it",
        );
    }
    console.log(`Chromium ${browser.version()}, ${device}`);

    // Of the process that compiles.
    const session = await browser.newBrowserCDPSession();
    const processorTime = async () => {
        const { processInfo } = await session.send("SystemInfo.getProcessInfo");
        return 1000 * (processInfo.find(({ type }) => type === "GPU")?.cpuTime ?? NaN);
    };

    await refuses(page);
    const step = await table(page, processorTime, "A training step", fresh(training));
    const more = await table(page, processorTime, "An evaluation, beyond that", fresh(evaluation));
    const each = await table(page, processorTime, "Each file as it is", fresh(files));
    const said = new Set([step, more, each].flatMap((sum) => [...sum.said]));
    if (said.size) console.log(`\n${[...said].join("\n")}`);
    const refused = step.refused + more.refused + each.refused;
    if (refused) throw new Failure(`Chromium refuses ${refused} pipelines`);
    await refuses(page);

    const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
    const took = `a training step's took ${seconds(step.processor)} of CPU time (aim ${seconds(AIM)}, limit ${seconds(LIMIT)})`;
    if (!(step.processor <= LIMIT)) throw new Failure(`the pipelines compile too slowly: ${took}`);
    console.log(`\nAll pipelines compile; ${took}.`);
}

async function main() {
    const executablePath = process.env.CHROMIUM;
    // Root has no sandbox.
    const options = { executablePath, args: SWIFTSHADER, chromiumSandbox: false, timeout: STUCK };
    const browser = await chromium.launch(options).catch(({ message }) => {
        throw new Failure(`${executablePath} does not start; Debian's \`chromium\` and Google's Chrome do. It says:\n${message}`);
    });
    try {
        await check(browser);
    } finally {
        await browser.close();
    }
}

main().catch((error) => {
    console.error(`scripts/browser: ${error instanceof Failure ? error.message : error.stack}`);
    process.exit(1);
});

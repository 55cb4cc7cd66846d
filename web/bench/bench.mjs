// Measures how long a training step takes in a browser, with this program and with the libraries that one would use
// there. The net is the classic one for MNIST:
//
//     Conv2d(1, 32, 3) ReLU MaxPool(2) Conv2d(32, 64, 3) ReLU MaxPool(2) Flatten
//     Linear(1600, 128) Dropout(0.5) Linear(128, 10)
//
// It learns by SGD with Nesterov momentum from batches of 32. A step ends when the weights are updated and its loss is
// read back. The browser is Chromium without a GPU: WebGPU and WebGL run on SwiftShader, that is, on the processor.
//
//     scripts/web
//     npm install --no-save --prefix target/bench playwright-core@1.60.0 @tensorflow/tfjs@4.22.0 \
//         @tensorflow/tfjs-backend-webgpu@4.22.0 @jax-js/jax@0.1.25
//     node web/bench/bench.mjs [--tools FOLDER] [--only NAME] [--steps N]
//
// FOLDER, target/bench if left out, has the node_modules. NAME is a library, or a library and a backend: tfjs, or
// tfjs/webgpu. N steps are timed, after one that warms up. The browser's program is CHROMIUM, or else the PATH's
// `chromium`.

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { serve } from "../serve.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
    options: {
        tools: { type: "string", default: join(HERE, "../../target/bench") },
        only: { type: "string" },
        steps: { type: "string" },
    },
});
const TOOLS = resolve(options.tools);
const { chromium } = createRequire(join(TOOLS, "package.json"))("playwright-core");

// NAME.js exports `train(backend, steps)`, which returns { losses, times }, the times in ms: of the step that warms up,
// then of `steps` more. `steps` here is how many they are by default. jax-js has a cpu backend too, of interpreted
// JavaScript: two steps took more than four minutes.
const RUNS = [
    { name: "ours", library: "mnist-wgpu", backend: "webgpu", steps: 20 },
    { name: "ours", library: "mnist-wgpu", backend: "wasm", steps: 100 },
    { name: "tfjs", library: "@tensorflow/tfjs", backend: "webgpu", steps: 3 },
    { name: "tfjs", library: "@tensorflow/tfjs", backend: "webgl", steps: 3 },
    { name: "tfjs", library: "@tensorflow/tfjs", backend: "cpu", steps: 3 },
    { name: "jax", library: "@jax-js/jax", backend: "webgpu", steps: 5 },
    { name: "jax", library: "@jax-js/jax", backend: "webgl", steps: 2 },
    { name: "jax", library: "@jax-js/jax", backend: "wasm", steps: 5 },
];

const STUCK = 600_000; // ms for one backend

// Chromium's software device. WebGL takes it by itself where there is no GPU.
const SWIFTSHADER = [
    "--enable-unsafe-webgpu",
    "--enable-features=Vulkan",
    "--use-webgpu-adapter=swiftshader",
    "--enable-unsafe-swiftshader",
];

// In the page.
async function train({ name, backend, steps }) {
    const module = await import(`/${name}.js`);
    return module.train(backend, steps);
}

function program() {
    const places = process.env.PATH.split(delimiter).map((folder) => join(folder, "chromium"));
    return process.env.CHROMIUM ?? places.find((place) => existsSync(place));
}

// Trains in a browser of its own, so that nothing is left of the run before.
async function measure(address, run) {
    // Root has no sandbox.
    const browser = await chromium.launch({ executablePath: program(), args: SWIFTSHADER, chromiumSandbox: false });
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not done within ${STUCK / 1000} s`)), STUCK);
    });
    try {
        const page = await browser.newPage();
        page.on("console", (message) => {
            if (message.type() === "error") console.error(`${run.name}/${run.backend}: ${message.text()}`);
        });
        await page.goto(address);
        return await Promise.race([page.evaluate(train, run), late]);
    } finally {
        clearTimeout(timer);
        await browser.close();
    }
}

function median(numbers) {
    const sorted = [...numbers].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function row(library, version, backend, ...rest) {
    const texts = rest.map((text) => text.padStart(9));
    console.log([library.padEnd(16), version.padEnd(7), backend.padEnd(7), ...texts].join(" "));
}

async function main() {
    const named = ({ name, backend }) => [undefined, name, `${name}/${backend}`].includes(options.only);
    const runs = RUNS.filter(named);
    const wrong = options.steps !== undefined && !/^[1-9]\d*$/.test(options.steps);
    if (wrong) throw new Error(`--steps takes a number from 1, not ${options.steps}`);
    if (!runs.length) throw new Error(`nothing is called ${options.only}`);
    const { server, address } = await serve([HERE, join(HERE, "../dist"), TOOLS]);
    row("library", "version", "backend", "median ms", "min ms", "max ms", "first ms", "loss");
    for (const run of runs) {
        const { name, library, backend } = run;
        const file = join(TOOLS, "node_modules", library, "package.json");
        const { version } = name === "ours" ? { version: "" } : JSON.parse(readFileSync(file, "utf8"));
        const steps = Number(options.steps ?? run.steps);
        try {
            const { losses, times } = await measure(address, { ...run, steps });
            const [first, ...timed] = times;
            const numbers = [median(timed), Math.min(...timed), Math.max(...timed), first];
            row(library, version, backend, ...numbers.map((ms) => ms.toFixed(0)), losses.at(-1).toFixed(4));
        } catch ({ message }) {
            row(library, version, backend, message.split("\n")[0]);
        }
    }
    server.close();
}

main().catch(({ message }) => {
    console.error(message);
    process.exit(1);
});

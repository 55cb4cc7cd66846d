// The page in a real browser: what people do on it, and numbers that must come out. `scripts/browser` runs it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { AXE, FOUR, PROGRAM, REFERENCE, draw, end, inWorker, open, reads, shares, status } from "./browser.mjs";

const reference = JSON.parse(readFileSync(join(REFERENCE, "reference.json"), "utf8"));
const DIGITS = fileURLToPath(new URL("../../assets/digits", import.meta.url));
const FILES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
const files = FILES.map((name) => join(REFERENCE, name));
const json = (...args) => JSON.parse(execFileSync(PROGRAM, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
const percent = (text, what) => Number(new RegExp(`([\\d.]+) % ${what}`).exec(text)[1]) / 100;

after(end);

test("a four is read while it is drawn, and undo and clear take it back", async () => {
    const page = await open();
    await draw(page, FOUR[0]);
    await reads(page, "1");
    await draw(page, FOUR[1]);
    await reads(page, "4");
    const bars = await shares(page);
    assert.equal(bars.length, 10);
    assert.ok(bars[4] > 0.9, `${bars}`);
    assert.ok(Math.abs(bars.reduce((a, b) => a + b) - 1) < 0.01, `${bars}`);
    assert.equal(await page.locator("#activations canvas").count(), 2);

    await page.click("#undo");
    await reads(page, "1");
    await page.keyboard.press("Escape");
    await reads(page, "");
    assert.deepEqual(page.errors, []);
});

test("pictures are read as the command line reads them", async () => {
    const page = await open();
    const pictures = readdirSync(DIGITS).filter((name) => /\.(png|jpg)$/.test(name)).map((name) => join(DIGITS, name));
    assert.ok(pictures.length >= 20);
    const answers = json("predict", "--json", ...pictures);
    for (const { path, digits } of answers) {
        await page.click("#clear");
        await reads(page, "");
        await page.setInputFiles("#picture", path);
        await reads(page, digits.map((digit) => digit.class).join(""));
        const [most, { confidence }] = [Math.max(...(await shares(page))), digits.at(-1)];
        assert.ok(Math.abs(most - confidence) < 0.002, `${path}: ${most} on the page, ${confidence} by the command line`);
    }
    assert.deepEqual(page.errors, []);
});

test("what is no picture, no network and no data set is refused in words", async () => {
    const page = await open();
    const refused = async (input, file, pattern) => {
        await page.setInputFiles(input, file);
        await page.waitForFunction((text) => new RegExp(text).test(document.querySelector("#trouble").textContent), pattern.source);
        assert.ok(await page.isVisible("#trouble"));
    };
    const text = { name: "notes.png", mimeType: "image/png", buffer: Buffer.from("not a picture") };
    await refused("#picture", text, /notes\.png: expected a picture/);
    await refused("#model", { ...text, name: "a.safetensors" }, /a\.safetensors: not a safetensors file/);
    await refused("#files", [files[0]], /training labels: expected a file such as train-labels-idx1-ubyte/);
    const contents = files.map((file, i) => ({ ...text, name: FILES[i], buffer: readFileSync(file) }));
    await page.setInputFiles("#files", [...contents.slice(0, 3), { ...text, name: FILES[3] }]);
    await page.waitForFunction(() => document.querySelector("[name=data]").value === "files");
    await page.click("#start");
    await status(page, /Training ended: test labels: /);
    await draw(page, ...FOUR);
    await reads(page, "4");
});

test("the losses of 20 steps on the GPU and of 168 on the processor follow the native CPU path's", async () => {
    const page = await open();
    for (const [device, steps] of [["cpu", 168], ["gpu", 20]]) {
        const told = await inWorker(
            page,
            `async ({ Dataset, Device, Trainer }, { device, steps }) => {
                const trainer = new Trainer(await Device.open(device), Dataset.drawn(6000, 1000, 0), { epochs: 1 });
                const told = [];
                let done = 0;
                await trainer.run(({ type, work, images, loss }) => {
                    if (type !== "progress" || work !== "train") return;
                    told.push({ count: images / 32, loss });
                    done += images / 32;
                    if (done >= steps) trainer.stop();
                });
                return told;
            }`,
            { device, steps },
        );
        let step = 0;
        for (const { count, loss } of told) {
            const mean = (numbers) => numbers.slice(step, step + count).reduce((a, b) => a + b) / count;
            const [want, bound] = [mean(reference.losses), mean(reference.bounds)];
            step += count;
            if (step > reference.losses.length) break;
            assert.ok(Math.abs(loss - want) <= bound, `${device}, step ${step}: ${loss}, natively ${want}, bound ${bound}`);
        }
        assert.ok(step >= steps, `${device}: ${step} steps of ${steps}`);
    }
});

test("it trains on files that are given to it, and the command line finds the same of the network", async () => {
    const page = await open({ query: "?device=cpu&epochs=2&seed=5&rate=0.02" });
    assert.equal(await page.inputValue("[name=rate]"), "0.02");
    await page.setInputFiles("#files", files);
    await page.waitForFunction(() => document.querySelector("[name=data]").value === "files");
    await draw(page, ...FOUR);
    await page.click("#start");
    await status(page, /^Done after 1,152 images/);
    const line = await page.textContent("#epoch-line");
    assert.equal(await page.textContent("#epoch-title"), "After epoch 2");
    const cells = await page.locator("#confusion td").evaluateAll((cells) => cells.map(({ textContent }) => Number(textContent) || 0));
    assert.equal(cells.reduce((a, b) => a + b), 320);
    assert.match(await page.textContent("#judge"), /network in training, after 2 epochs/);

    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
    assert.equal(download.suggestedFilename(), "model.safetensors");
    const model = join(REFERENCE, "downloaded.safetensors");
    await download.saveAs(model);
    const { accuracy } = json("eval", model, "--data-dir", REFERENCE, "--device", "cpu", "--json");
    assert.ok(Math.abs(percent(line, "on test images") - accuracy) < 0.00006, `${line}; by eval ${accuracy}`);

    // From its weights the loss goes on falling; and it reads by what was uploaded.
    await page.setInputFiles("#model", model);
    await page.waitForFunction(() => document.querySelector("#judge").textContent === "Read by downloaded.safetensors.");
    await page.selectOption("[name=from]", "present");
    await page.fill("[name=epochs]", "1");
    await page.click("#start");
    await status(page, /^Done after 576 images/);
    assert.ok(percent(await page.textContent("#epoch-line"), "on test images") >= percent(line, "on test images") - 0.05);
    assert.match(page.url(), /epochs=1/);
    assert.deepEqual(page.errors, []);
});

test("files may be named in the address, and pictures pasted", async () => {
    const page = await open({ query: "?data=.&device=cpu&epochs=1" });
    assert.equal(await page.inputValue("[name=data]"), "files");
    await page.click("#start");
    await status(page, /^Done after 576 images/);
    const seven = readFileSync(join(DIGITS, "7-pen.png")).toString("base64");
    await page.evaluate(async (seven) => {
        const bytes = Uint8Array.from(atob(seven), (letter) => letter.charCodeAt(0));
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File([bytes], "seven.png", { type: "image/png" }));
        dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
    }, seven);
    await page.click("#built-in");
    await reads(page, "7");
    assert.deepEqual(page.errors.filter((error) => !/404/.test(error)), []); // the .gz files, which are not there
});

test("a run is paused, goes on, takes another rate, and stops", async () => {
    const page = await open({ query: "?device=cpu&epochs=50" });
    await page.click("#start");
    await status(page, /step [1-9]/);
    await page.click("#pause");
    assert.equal(await status(page, /^Paused/), "Paused.");
    await page.waitForTimeout(300);
    const before = await page.textContent("#loss-now");
    await page.waitForTimeout(600);
    assert.equal(await page.textContent("#loss-now"), before, "nothing moves in a pause");
    await page.fill("[name=rate]", "0.001");
    await page.click("#pause");
    await status(page, /step/);
    await page.waitForFunction((before) => document.querySelector("#loss-now").textContent !== before, before);
    await page.click("#stop");
    await status(page, /^Stopped after/);
    assert.ok(await page.isEnabled("#start"));
    await page.click("#start");
    await status(page, /step [1-9]/);
    await page.close(); // in the middle
    assert.deepEqual(page.errors, []);
});

test("without WebGPU it says so, and trains on the processor", async () => {
    const page = await open({ gpu: false, query: "?epochs=1" });
    await page.waitForFunction(() => /WebGPU/.test(document.querySelector("#device").textContent));
    assert.match(await page.textContent("#device"), /Until then training goes on the processor/);
    assert.equal(await page.inputValue("[name=device]"), "cpu");
    assert.ok(await page.isDisabled("#selftest"));
    await page.click("#start");
    await status(page, /^Done after 5,376 images/);
    assert.ok(percent(await page.textContent("#epoch-line"), "on test images") > 0.8);
    assert.deepEqual(page.errors, []);
});

test("the self-test passes on the GPU, and its table has every check", async () => {
    const page = await open();
    await page.click("#selftest");
    await page.waitForFunction(() => /checks/.test(document.querySelector("#selftest-line").textContent), null, { timeout: 300_000 });
    const line = await page.textContent("#selftest-line");
    const [, count] = /^All (\d+) checks passed/.exec(line) ?? assert.fail(`${line} ${await page.textContent("#checks")}`);
    assert.equal(await page.locator("#checks tbody tr").count(), Number(count));
    assert.ok(Number(count) >= 18);
    assert.deepEqual(page.errors, []);
});

test("a device that is lost ends the run in words, and the next run opens it again", async () => {
    const page = await open({
        query: "?device=gpu",
        before: (page) =>
            page.route("**/worker.js", async (route) => {
                const response = await route.fetch();
                const spy = `
                    const request = GPUAdapter.prototype.requestDevice;
                    GPUAdapter.prototype.requestDevice = async function (...args) {
                        return (globalThis.opened = await request.apply(this, args));
                    };`;
                await route.fulfill({ response, body: (await response.text()) + spy });
            }),
    });
    await page.click("#start");
    await status(page, /step [1-9]/);
    const workers = page.workers();
    await Promise.all(workers.map((worker) => worker.evaluate(() => globalThis.opened?.destroy())));
    await status(page, /^Training ended: /);
    assert.ok(await page.isVisible("#trouble"));
    await page.click("#start");
    await status(page, /step [1-9]/);
});

test("a shader that the browser refuses is named, with its line", async () => {
    const page = await open();
    const ended = inWorker(
        page,
        `async ({ Dataset, Device, Trainer }) => {
            const create = GPUDevice.prototype.createShaderModule;
            GPUDevice.prototype.createShaderModule = function (descriptor) {
                const code = descriptor.code.replace("fn backward_params", "fn backward_params(");
                return create.call(this, { ...descriptor, code });
            };
            const trainer = new Trainer(await Device.open("gpu"), Dataset.drawn(100, 10, 0), {});
            await trainer.run(() => {});
        }`,
    );
    await assert.rejects(ended, /shaders\/\w+\.wgsl: line \d+: /);
});

test("no buffer is left over by a step on the GPU", async () => {
    const page = await open();
    const alive = await inWorker(
        page,
        `async ({ Dataset, Device, Trainer }) => {
            let alive = 0;
            const create = GPUDevice.prototype.createBuffer;
            GPUDevice.prototype.createBuffer = function (descriptor) { alive += 1; return create.call(this, descriptor); };
            const destroy = GPUBuffer.prototype.destroy;
            GPUBuffer.prototype.destroy = function () { alive -= 1; return destroy.call(this); };
            const trainer = new Trainer(await Device.open("gpu"), Dataset.drawn(400, 10, 0), { batchSize: 4, epochs: 1 });
            const counts = [];
            await trainer.run(({ type, work }) => type === "progress" && work === "train" && counts.push(alive));
            return counts;
        }`,
    );
    assert.ok(alive.length > 10);
    const [settled, last] = [alive[3], alive.at(-1)];
    assert.ok(last <= settled + 1, `buffers after each submit: ${alive}`); // of submits in flight, one more or less
});

test("a run that was stopped and goes on ends with the bits of one that was not", async () => {
    const page = await open();
    const [whole, parts, stops] = await inWorker(
        page,
        `async ({ Dataset, Device, Trainer }) => {
            const begin = async () => new Trainer(await Device.open("cpu"), Dataset.drawn(1000, 100, 0), { epochs: 2, pulse: 40 });
            const [whole, parts] = [await begin(), await begin()];
            await whole.run(() => {});
            let stops = 0;
            while ((await parts.run(({ type }) => type === "weights" && parts.stop())) === "stopped") stops += 1;
            return [whole.file(), parts.file(), stops];
        }`,
    );
    assert.ok(stops > 2, `${stops} stops`);
    assert.ok(Buffer.from(whole).equals(Buffer.from(parts)));
});

test("the memory of 300 steps on the processor stays flat", async () => {
    const page = await open();
    const sizes = await inWorker(
        page,
        `async ({ Dataset, Device, Trainer }, _, memory) => {
            const trainer = new Trainer(await Device.open("cpu"), Dataset.drawn(1000, 100, 0), { epochs: 12, pulse: 50 });
            const sizes = [];
            await trainer.run(({ type }) => type === "epoch" && sizes.push(memory.buffer.byteLength));
            return sizes;
        }`,
    );
    assert.equal(sizes.length, 12);
    assert.equal(sizes.at(-1), sizes[1], `${sizes}`);
});

test("on a phone nothing is wider than the screen, and drawing does not scroll the page", async () => {
    const page = await open({ viewport: { width: 360, height: 700 }, hasTouch: true, isMobile: true, deviceScaleFactor: 3 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} pixels too wide`);
    const session = await page.context().newCDPSession(page);
    const { x, y, width, height } = await page.locator("#pad").boundingBox();
    const touch = (type, share) =>
        session.send("Input.dispatchTouchEvent", {
            type,
            touchPoints: share === null ? [] : [{ x: x + width / 2, y: y + share * height }],
        });
    await touch("touchStart", 0.85);
    for (let share = 0.85; share > 0.15; share -= 0.05) await touch("touchMove", share);
    await touch("touchEnd", null);
    assert.equal(await page.evaluate(() => scrollY), 0);
    await reads(page, "1");
});

test("no accessibility fault, in light and dark, before and after training", async () => {
    for (const colorScheme of ["light", "dark"]) {
        const page = await open({ colorScheme, query: "?device=cpu&epochs=1" });
        await page.addScriptTag({ path: AXE }).catch(() => page.evaluate(readFileSync(AXE, "utf8")));
        const faults = async () => {
            const { violations } = await page.evaluate(() => axe.run());
            return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120))}`);
        };
        assert.deepEqual(await faults(), []);
        await draw(page, ...FOUR);
        await reads(page, "4");
        await page.click("#start");
        await status(page, /^Done/);
        assert.deepEqual(await faults(), []);
    }
});

test("all files of the page are at most 2 MB as gzip", () => {
    const folder = fileURLToPath(new URL("../dist", import.meta.url));
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const sizes = files.map(({ name, parentPath, path }) => gzipSync(readFileSync(join(parentPath ?? path, name))).length);
    assert.ok(files.some(({ name }) => name === "mnist_wgpu_web_bg.wasm"));
    const bytes = sizes.reduce((a, b) => a + b);
    assert.ok(bytes < 2_000_000, `${bytes} bytes`);
});

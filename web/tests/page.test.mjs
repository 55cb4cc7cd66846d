// The page in a real browser: what people do on it, and numbers that must come out. `scripts/browser` runs it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { AXE, FOUR, PROGRAM, REFERENCE, draw, end, inWorker, open, shares, status, verdict } from "./browser.mjs";

const reference = JSON.parse(readFileSync(join(REFERENCE, "reference.json"), "utf8"));
const DIGITS = new URL("../../assets/digits/", import.meta.url).pathname;
const FILES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
const files = FILES.map((name) => join(REFERENCE, name));
const json = (...args) => JSON.parse(execFileSync(PROGRAM, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
const percent = (text, what) => Number(new RegExp(`([\\d.]+) % ${what}`).exec(text)[1]) / 100;

after(end);

test("a four is read while it is drawn, and undo and clear take it back", async () => {
    const page = await open();
    await draw(page, FOUR[0]);
    await verdict(page);
    await draw(page, FOUR[1]);
    await page.waitForFunction(() => document.querySelector("#verdict").textContent === "4");
    const bars = await shares(page);
    assert.equal(bars.length, 10);
    assert.ok(bars[4] > 0.9, `${bars}`);
    assert.ok(Math.abs(bars.reduce((a, b) => a + b) - 1) < 0.01, `${bars}`);
    assert.equal(await page.locator("#activations canvas").count(), 2);

    await page.click("#undo");
    await page.waitForFunction(() => document.querySelector("#verdict").textContent !== "4");
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => !document.querySelector("#verdict").textContent.trim());
    assert.deepEqual(page.errors, []);
});

test("pictures are read as the command line reads them", async () => {
    const page = await open();
    for (const name of readdirSync(DIGITS).filter((name) => name.endsWith(".png")).sort()) {
        const picture = join(DIGITS, name);
        const [{ digits }] = [json("predict", "--json", picture)].flat(2);
        await page.setInputFiles("#picture", picture);
        await page.waitForFunction((name) => globalThis.seen !== name && document.querySelector("#verdict").textContent.trim(), name);
        await page.waitForTimeout(100);
        const [bars, read] = [await shares(page), await verdict(page)];
        assert.equal(read, digits.map(({ label }) => label).join(""), name);
        const { confidence } = digits.at(-1);
        assert.ok(Math.abs(Math.max(...bars) - confidence) < 0.002, `${name}: ${Math.max(...bars)}, ${confidence}`);
    }
    assert.deepEqual(page.errors, []);
});

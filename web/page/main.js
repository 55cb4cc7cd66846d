// The page: what is drawn goes to the network, and what it says is shown. training.js trains.

import * as gpu from "./gpu.js";
import { areImages, fromFiles } from "./images.js";
import { Pad } from "./pad.js";
import { Reader } from "./reader.js";
import { Settings } from "./settings.js";
import { Thread } from "./thread.js";
import { Training } from "./training.js";

const element = (id) => document.getElementById(id);

function trouble({ message }) {
    element("trouble").textContent = message;
    element("trouble").hidden = false;
}

// What goes wrong is shown, and gone with the next attempt.
const attempt = (work) => async (...args) => {
    element("trouble").hidden = true;
    try {
        await work(...args);
    } catch (error) {
        trouble(error);
    }
};

const program = WebAssembly.compileStreaming(fetch("mnist_wgpu_web_bg.wasm"));
const builtIn = fetch("model.safetensors").then(async (answer) => new Uint8Array(await answer.arrayBuffer()));
await Promise.all([program, builtIn]).catch(({ message }) => {
    element("hint").textContent = "";
    trouble(new Error(`The program does not load here (${message}). It takes a browser from 2023 on, and its files beside this page.`));
    throw new Error(message);
});

// Two threads, so that what is drawn is read while the other trains.
const pad = new Pad(element("pad"));
const reader = new Reader(new Thread(program), pad);
const thread = new Thread(program);
const settings = new Settings(element("settings"));
const training = new Training(thread, settings, () => reader.bytes);

const useBuiltIn = async () => reader.use(await builtIn, "Read by the network that comes with the program.");
const onClick = (id, work) => element(id).addEventListener("click", attempt(async () => work()));
const onFiles = (id, work) =>
    element(id).addEventListener("change", ({ target }) => {
        const files = [...target.files];
        target.value = ""; // so that the same file can be chosen again
        if (files.length) attempt(work)(files);
    });

onClick("undo", () => pad.undo());
onClick("clear", () => pad.clear());
onClick("open", () => element("picture").click());
onClick("upload", () => element("model").click());
onClick("built-in", useBuiltIn);
onClick("selftest", selftest);
onClick("download", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([reader.bytes], { type: "application/octet-stream" }));
    link.download = "model.safetensors";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});
onFiles("picture", ([picture]) => pad.open(picture));
onFiles("files", useImages);
onFiles("model", ([model]) => take(model));
addEventListener("keydown", (event) => {
    if (event.target.closest?.("input, select")) return;
    if (event.key === "Escape") pad.clear();
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) pad.undo();
});

async function useImages(files) {
    training.use(await fromFiles(files));
}

async function take(model) {
    const bytes = new Uint8Array(await model.arrayBuffer());
    await reader.use(bytes, `Read by ${model.name}.`).catch(({ message }) => {
        throw new Error(`${model.name}: ${message}`);
    });
}

// Files may be dropped anywhere: networks, data sets and pictures are told apart.
const onDropped = attempt(async (files) => {
    if (!files.length) return;
    const model = files.find(({ name }) => name.endsWith(".safetensors"));
    if (model) return take(model);
    return areImages(files) ? useImages(files) : pad.open(files[0]);
});
addEventListener("dragover", (event) => {
    event.preventDefault();
    element("pad").classList.add("over");
});
for (const name of ["dragleave", "drop"]) addEventListener(name, () => element("pad").classList.remove("over"));
addEventListener("drop", (event) => {
    event.preventDefault();
    onDropped([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => onDropped([...event.clipboardData.files]));

training.addEventListener("network", ({ bytes, epoch }) => {
    const epochs = `${epoch} epoch${epoch === 1 ? "" : "s"}`;
    attempt(() => reader.use(bytes, `Read by the network in training, after ${epochs}.`))();
});
training.addEventListener("files", () => element("files").click());
training.addEventListener("trouble", ({ error }) => trouble(error));
settings.addEventListener("change", ({ name }) => {
    if (name !== "data") return;
    settings.values.data === "files" ? element("files").click() : training.use(null);
});

const query = new URLSearchParams(location.search);
if (query.has("data")) training.use({ url: query.get("data") });
await useBuiltIn();
document.documentElement.dataset.ready = "true";

const found = await gpu.find();
if (!found.name) {
    settings.set("device", "cpu");
    element("settings").elements.device.options[0].disabled = true;
    element("selftest").disabled = true;
    element("device").textContent = `${found.advice} Until then training goes on the processor.`;
} else if (found.software) {
    if (!query.has("device")) settings.set("device", "cpu");
    element("device").textContent = `${found.name}: the processor under the name of a GPU. Training is faster on the processor itself.`;
} else {
    element("device").textContent = `${found.name}, by WebGPU.`;
}

async function selftest() {
    const rows = element("checks").tBodies[0];
    rows.replaceChildren();
    element("checks").hidden = false;
    element("selftest-line").textContent = "Each op runs at the sizes of the network and at odd ones, and is held against the processor...";
    for (const id of ["selftest", "start"]) element(id).disabled = true;
    const onCheck = ({ detail: { name, sizes, passed, share, message } }) => {
        const row = rows.insertRow();
        const found = passed ? (share ? `${Math.round(100 * share)} %` : "none") : `WRONG: ${message}`;
        for (const text of [name, sizes, found]) row.insertCell().textContent = text;
        if (!passed) row.lastChild.className = "wrong";
    };
    thread.addEventListener("check", onCheck);
    try {
        const { passed, all } = await thread.call("selftest", "gpu");
        element("selftest-line").textContent =
            passed === all
                ? `All ${all} checks passed: this device computes rightly.`
                : `${all - passed} of ${all} checks failed: train on the processor, and please report this table.`;
    } catch (error) {
        element("selftest-line").textContent = "The checks did not come to their end.";
        throw error;
    } finally {
        thread.removeEventListener("check", onCheck);
        for (const id of ["selftest", "start"]) element(id).disabled = false;
    }
}

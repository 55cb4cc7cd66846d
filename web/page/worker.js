// What takes long, in a thread of its own: reading, training, and the checks of the device. A message names a function
// of `calls`; the answer has its number. Events have none.

import init, { Dataset, Device, Network, Trainer } from "./mnist_wgpu_web.js";

let network = null;
let dataset = null;
let named = null; // what the data set was made from, so that it is not made again
const devices = {};
let trainer = null;

const open = async (name) => (devices[name] ??= await Device.open(name));

const calls = {
    async init(module) {
        await init({ module_or_path: module });
    },

    // The network by which `read` reads, a .safetensors file.
    network(bytes) {
        const next = new Network(bytes);
        network?.free();
        network = next;
        const { classes, shape, kernels } = network;
        return { classes, shape, kernels };
    },

    // The digits of a picture, and what the convolutions make of one of them: number `chosen`, or else the last.
    async read({ data, width, height }, chosen) {
        const digits = await network.read(data, width, height);
        const index = Math.min(chosen ?? Infinity, digits.length - 1);
        return { digits, index, layers: await network.activations(digits[index].sample) };
    },

    // `images` is { drawn: [train, test, seed] } or { files: [...], name }, four files in IDX's order.
    images({ drawn, files, name }) {
        const made = name ?? JSON.stringify(drawn);
        if (named !== made) {
            dataset?.free();
            [dataset, named] = [null, null];
            dataset = drawn ? Dataset.drawn(...drawn) : Dataset.from_idx(...files);
            named = made;
        }
        const { train, test, classes, shape } = dataset;
        return { train, test, classes, shape };
    },

    async train(device, settings) {
        try {
            trainer = new Trainer(await open(device), dataset, settings);
            return await trainer.run((event) => postMessage({ event }, event.bytes ? [event.bytes.buffer] : []));
        } catch (error) {
            delete devices[device]; // it may be lost: the next run opens it anew
            throw error;
        } finally {
            trainer?.free();
            trainer = null;
        }
    },

    pause: () => trainer?.pause(),
    resume: () => trainer?.resume(),
    stop: () => trainer?.stop(),
    rate: (rate) => trainer?.set_learning_rate(rate),

    selftest: async (device) => (await open(device)).selftest((check) => postMessage({ event: { type: "check", ...check } })),
};

onmessage = async ({ data: { number, call, args } }) => {
    try {
        postMessage({ number, value: await calls[call](...args) });
    } catch (error) {
        postMessage({ number, error: error.message ?? String(error) });
    }
};

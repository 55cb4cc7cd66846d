// mnist-wgpu, as its page runs it. Its gradients and losses are those of its tests; here only the time counts.

import init, { Dataset, Device, Trainer } from "/mnist_wgpu_web.js";
import { BATCH, LEARNING_RATE } from "./common.js";

export async function train(backend, steps) {
    await init({ module_or_path: "/mnist_wgpu_web_bg.wasm" });
    const data = Dataset.drawn(40 * BATCH, BATCH, 0);
    const device = await Device.open(backend === "webgpu" ? "gpu" : "cpu");
    const trainer = new Trainer(device, data, { batchSize: BATCH, learningRate: LEARNING_RATE, epochs: 100, pulse: 1e9 });
    const losses = [];
    const times = [];
    let start = performance.now();
    await trainer.run(({ type, work, images, loss }) => {
        if (type !== "progress") return;
        const now = performance.now();
        const count = images / BATCH;
        if (work === "train") {
            for (let i = 0; i < count; i++) losses.push(loss);
            for (let i = 0; i < count; i++) times.push((now - start) / count);
        }
        start = now;
        if (losses.length > steps) trainer.stop();
    });
    return { losses, times };
}

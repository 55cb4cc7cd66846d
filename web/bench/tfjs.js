// TensorFlow.js, with its layers and its optimizer. Its wasm backend is left out: it cannot train a convolution, as
// it lacks the gradient of the filter.

import * as tf from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-webgpu";
import { BATCH, CLASSES, LEARNING_RATE, measure, MOMENTUM, SIDE } from "./common.js";

// PyTorch's weights: uniform up to 1 / sqrt(inputs).
function initial(seed) {
    return tf.initializers.varianceScaling({ scale: 1 / 3, mode: "fanIn", distribution: "uniform", seed });
}

function network() {
    const { conv2d, dense, dropout, flatten, maxPooling2d } = tf.layers;
    return tf.sequential({
        layers: [
            conv2d({
                inputShape: [SIDE, SIDE, 1],
                filters: 32,
                kernelSize: 3,
                activation: "relu",
                kernelInitializer: initial(1),
            }),
            maxPooling2d({ poolSize: 2 }),
            conv2d({ filters: 64, kernelSize: 3, activation: "relu", kernelInitializer: initial(2) }),
            maxPooling2d({ poolSize: 2 }),
            flatten(),
            dense({ units: 128, kernelInitializer: initial(3) }),
            dropout({ rate: 0.5 }),
            dense({ units: CLASSES, kernelInitializer: initial(4) }),
        ],
    });
}

export async function train(backend, steps) {
    if (!(await tf.setBackend(backend))) throw new Error(`${backend} is not to be had here`);
    const model = network();
    const optimizer = tf.train.momentum(LEARNING_RATE, MOMENTUM, true);
    return measure(steps, async ({ images, labels }) => {
        const loss = tf.tidy(() => {
            const x = tf.tensor4d(images, [BATCH, SIDE, SIDE, 1]);
            const y = tf.oneHot(tf.tensor1d(labels, "int32"), CLASSES);
            const forward = () => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }));
            return optimizer.minimize(forward, true);
        });
        // It is read after all that was queued before, the update of the weights included.
        const [value] = await loss.data();
        loss.dispose();
        return value;
    });
}

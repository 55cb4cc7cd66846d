// jax-js. A whole step, with its gradient and its update, is one compiled function.

import * as jax from "@jax-js/jax";
import { BATCH, CLASSES, LEARNING_RATE, measure, MOMENTUM, SIDE } from "./common.js";

const { jit, lax, nn, numpy: np, random, tree, valueAndGrad } = jax;

// Of each layer: the weight's shape, the bias's, and how many inputs go into an output.
const LAYERS = {
    conv1: [[32, 1, 3, 3], [32, 1, 1], 9],
    conv2: [[64, 32, 3, 3], [64, 1, 1], 288],
    linear1: [[1600, 128], [128], 1600],
    linear2: [[128, CLASSES], [CLASSES], 128],
};

// PyTorch's weights: uniform up to 1 / sqrt(inputs).
function initial() {
    const parameters = {};
    Object.entries(LAYERS).forEach(([name, [weight, bias, inputs]], seed) => {
        const bound = 1 / Math.sqrt(inputs);
        parameters[name] = random.uniform(random.key(seed), weight, { minval: -bound, maxval: bound });
        parameters[`${name}Bias`] = np.zeros(bias);
    });
    return parameters;
}

// jax-js counts references: passing an array gives it away, and `ref` keeps one.
function loss(p, x, y, key) {
    const conv = (h, weight, bias) => nn.relu(lax.conv(h, weight, [1, 1], "VALID").add(bias));
    const pool = (h) => lax.reduceWindow(h, np.max, [2, 2], [2, 2]);
    let h = pool(conv(x, p.conv1, p.conv1Bias));
    h = pool(conv(h, p.conv2, p.conv2Bias)).reshape([BATCH, 1600]);
    h = np.dot(h, p.linear1).add(p.linear1Bias);
    h = h.mul(random.bernoulli(key, 0.5, [BATCH, 128]).astype(np.float32)).mul(2); // dropout
    const logits = np.dot(h, p.linear2).add(p.linear2Bias);
    return nn.logSoftmax(logits).mul(nn.oneHot(y, CLASSES)).sum().mul(-1 / BATCH);
}

const step = jit((parameters, velocities, x, y, key) => {
    const [value, gradients] = valueAndGrad(loss)(tree.ref(parameters), x, y, key);
    const moved = {};
    const faster = {};
    for (const name of Object.keys(parameters)) {
        const velocity = velocities[name].mul(MOMENTUM).add(gradients[name].ref);
        const change = gradients[name].add(velocity.ref.mul(MOMENTUM)).mul(LEARNING_RATE);
        moved[name] = parameters[name].sub(change);
        faster[name] = velocity;
    }
    return [value, moved, faster];
});

export async function train(backend, steps) {
    if (!(await jax.init(backend)).includes(backend)) throw new Error(`${backend} is not to be had here`);
    jax.defaultDevice(backend);
    let parameters = initial();
    let velocities = Object.fromEntries(Object.entries(parameters).map(([name, { shape }]) => [name, np.zeros(shape)]));
    await jax.blockUntilReady([parameters, velocities]);
    return measure(steps, async ({ images, labels }, i) => {
        const x = np.array(images).reshape([BATCH, 1, SIDE, SIDE]);
        let value;
        [value, parameters, velocities] = step(parameters, velocities, x, np.array(labels), random.key(i));
        // Only what is asked for is sure to be computed.
        await jax.blockUntilReady([parameters, velocities]);
        return (await value.data())[0];
    });
}

// What the libraries' modules share: the data and the clock.

export const BATCH = 32;
export const CLASSES = 10;
export const SIDE = 28;
export const LEARNING_RATE = 0.01;
export const MOMENTUM = 0.9;

// Numbers in [0, 1) that are the same every time (mulberry32).
function random(seed) {
    return () => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
}

// Images of noise. The two rows that tell a label are brighter than the rest, so that there is something to learn.
function batch(seed) {
    const next = random(seed);
    const images = new Float32Array(BATCH * SIDE * SIDE);
    const labels = Int32Array.from({ length: BATCH }, () => Math.floor(next() * CLASSES));
    for (let i = 0; i < images.length; i++) {
        const label = labels[Math.floor(i / (SIDE * SIDE))];
        const row = Math.floor(i / SIDE) % SIDE;
        images[i] = next() * 0.5 + (Math.floor(row / 2) === label + 2 ? 0.5 : 0);
    }
    return { images, labels };
}

const BATCHES = [1, 2, 3, 4].map(batch);

// Takes a step to warm up, then `steps` more. `step` trains with a batch, and resolves to its loss when the work is
// done, the update of the weights included. Both lists begin with the step that warms up.
export async function measure(steps, step) {
    const losses = [];
    const times = [];
    for (let i = 0; i <= steps; i++) {
        const start = performance.now();
        losses.push(await step(BATCHES[i % BATCHES.length], i));
        times.push(performance.now() - start);
    }
    return { losses, times };
}

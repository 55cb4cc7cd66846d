// What shows numbers: bars, pixels, planes, the confusion matrix and the worst mistakes.

const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 0 : 1)} %`;

// A bar for each class, made once.
export class Bars {
    #rows;

    constructor(list, classes) {
        this.#rows = classes.map((name) => {
            const row = document.createElement("li");
            row.innerHTML = '<span></span><span class="track"><span class="bar"></span></span><span class="share"></span>';
            row.firstChild.textContent = name;
            return row;
        });
        list.replaceChildren(...this.#rows);
        this.show(null);
    }

    // Null shows that nothing was read.
    show(probabilities, guess) {
        this.#rows.forEach((row, index) => {
            const share = probabilities?.[index] ?? 0;
            row.querySelector(".bar").style.transform = `scaleX(${share})`;
            row.querySelector(".share").textContent = probabilities ? percent(share) : "";
            row.classList.toggle("guess", Boolean(probabilities) && index === guess);
        });
    }
}

// A sample (C, H, W) of bytes as pixels.
export function showSample(canvas, sample, [channels, height, width]) {
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const plane = width * height;
    for (let i = 0; i < plane; i++) {
        for (let c = 0; c < 3; c++) image.data[4 * i + c] = sample ? sample[(channels === 3 ? c * plane : 0) + i] : 0;
        image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
}

// Planes side by side, each as dark as its largest number is strong: 0 is grey where there are negative ones, else
// black.
export function showPlanes(canvas, { values, count, height, width }, columns, gap = 1) {
    const rows = Math.ceil(count / columns);
    Object.assign(canvas, { width: columns * (width + gap) - gap, height: rows * (height + gap) - gap });
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    const most = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
    const signed = values.some((value) => value < 0);
    for (let plane = 0; plane < count; plane++) {
        const [left, top] = [(plane % columns) * (width + gap), Math.floor(plane / columns) * (height + gap)];
        for (let i = 0; i < width * height; i++) {
            const value = values[plane * width * height + i] / most;
            const grey = 255 * (signed ? (value + 1) / 2 : Math.sqrt(value));
            const at = 4 * ((top + Math.floor(i / width)) * canvas.width + left + (i % width));
            image.data.set([grey, grey, grey, 255], at);
        }
    }
    context.putImageData(image, 0, 0);
}

// Rows are what the images show, columns what they were taken for.
export function showConfusion(table, counts, classes) {
    const n = classes.length;
    const largest = Math.max(1, ...counts.filter((_, i) => Math.floor(i / n) !== i % n));
    const head = document.createElement("tr");
    head.append(cell("td", "shown as"), ...classes.map((name) => cell("th", name, "col")));
    const rows = classes.map((name, truth) => {
        const row = document.createElement("tr");
        const cells = classes.map((_, guess) => {
            const count = counts[truth * n + guess];
            const one = cell("td", count || "");
            if (count && truth !== guess) one.style.background = `color-mix(in srgb, var(--second) ${10 + (40 * count) / largest}%, transparent)`;
            if (truth === guess) one.style.background = "color-mix(in srgb, var(--accent) 18%, transparent)";
            return one;
        });
        row.append(cell("th", name, "row"), ...cells);
        return row;
    });
    table.replaceChildren(head, ...rows);
}

export function showMistakes(list, mistakes, shape, classes) {
    const items = mistakes.map(({ sample, truth, guess, confidence }) => {
        const item = document.createElement("li");
        const canvas = document.createElement("canvas");
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", `a ${classes[truth]} that was taken for a ${classes[guess]}`);
        showSample(canvas, sample, shape);
        item.append(canvas, `${classes[truth]} as ${classes[guess]}`, document.createElement("br"), percent(confidence));
        return item;
    });
    list.replaceChildren(...items);
}

function cell(name, text, scope) {
    const element = document.createElement(name);
    element.textContent = text;
    if (scope) element.scope = scope;
    return element;
}

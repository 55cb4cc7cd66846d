// The drawing pad: strokes by mouse, pen or finger, which can be undone; or a picture in their place. It says "change"
// whenever what it shows has changed.

// What is drawn is read from a picture of SIDE x SIDE pixels, however large the pad is on the screen.
const SIDE = 140;
const PEN = 10; // a stroke of MNIST is about an eighth of a digit's height
const LARGEST = 2048; // pixels of a picture's longer side, as the program looks at them

export class Pad extends EventTarget {
    #canvas;
    #strokes = []; // each a list of [x, y] in units of SIDE
    #drawing = new Map(); // pointers that are down, each with its stroke
    #picture = null;
    #small = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE }).getContext("2d", { willReadFrequently: true });

    constructor(canvas) {
        super();
        this.#canvas = canvas;
        canvas.addEventListener("pointerdown", (event) => this.#begin(event));
        canvas.addEventListener("pointermove", (event) => this.#go(event));
        for (const name of ["pointerup", "pointercancel"]) {
            canvas.addEventListener(name, (event) => this.#drawing.delete(event.pointerId));
        }
        new ResizeObserver(() => this.#show()).observe(canvas);
    }

    get isEmpty() {
        return !this.#strokes.length && !this.#picture;
    }

    undo() {
        if (!this.#strokes.pop()) this.#picture = null;
        this.#changed();
    }

    clear() {
        this.#strokes = [];
        this.#drawing.clear();
        this.#picture = null;
        this.#changed();
    }

    // Shows a picture, a file of any kind that the browser knows.
    async open(file) {
        const bitmap = await createImageBitmap(file).catch(() => {
            throw new Error(`${file.name || "what was pasted"}: expected a picture, found what this browser cannot show; save it as PNG`);
        });
        const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
        const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
        const canvas = Object.assign(document.createElement("canvas"), { width, height });
        canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0, width, height);
        bitmap.close();
        this.clear();
        this.#picture = canvas;
        this.#changed();
    }

    // What is to be read: an ImageData.
    get pixels() {
        if (this.#picture) {
            const { width, height } = this.#picture;
            return this.#picture.getContext("2d").getImageData(0, 0, width, height);
        }
        this.#paint(this.#small, 1);
        return this.#small.getImageData(0, 0, SIDE, SIDE);
    }

    #begin(event) {
        if (event.button !== 0) return;
        event.preventDefault();
        this.#canvas.setPointerCapture(event.pointerId);
        this.#picture = null;
        const stroke = [this.#place(event)];
        this.#strokes.push(stroke);
        this.#drawing.set(event.pointerId, stroke);
        this.#changed();
    }

    #go(event) {
        const stroke = this.#drawing.get(event.pointerId);
        if (!stroke) return;
        const between = event.getCoalescedEvents?.() ?? [];
        stroke.push(...(between.length ? between : [event]).map((each) => this.#place(each)));
        this.#changed();
    }

    #place({ clientX, clientY }) {
        const { left, top, width, height } = this.#canvas.getBoundingClientRect();
        return [((clientX - left) / width) * SIDE, ((clientY - top) / height) * SIDE];
    }

    #changed() {
        this.#show();
        this.dispatchEvent(new Event("change"));
    }

    #show() {
        const { clientWidth, clientHeight } = this.#canvas;
        const side = Math.max(1, Math.round(clientWidth * devicePixelRatio));
        Object.assign(this.#canvas, { width: side, height: Math.max(1, Math.round(clientHeight * devicePixelRatio)) });
        this.#paint(this.#canvas.getContext("2d"), side / SIDE);
    }

    #paint(context, scale) {
        const { width, height } = context.canvas;
        context.fillStyle = "#fff";
        context.fillRect(0, 0, width, height);
        if (this.#picture) {
            const fit = Math.min(width / this.#picture.width, height / this.#picture.height);
            const [w, h] = [this.#picture.width * fit, this.#picture.height * fit];
            context.drawImage(this.#picture, (width - w) / 2, (height - h) / 2, w, h);
        }
        Object.assign(context, { strokeStyle: "#17202c", lineWidth: PEN * scale, lineCap: "round", lineJoin: "round" });
        for (const [first, ...rest] of this.#strokes) {
            context.beginPath();
            context.moveTo(first[0] * scale, first[1] * scale);
            // A stroke of one point is a dot.
            for (const [x, y] of rest.length ? rest : [first]) context.lineTo(x * scale, y * scale);
            context.stroke();
        }
    }
}

// A curve that grows: a line over images seen, and dots where an epoch ended.

const MOST = 2000; // points; beyond them every other one goes

export class Chart {
    #canvas;
    #line = [];
    #dots = [];
    #waiting = false;
    #range; // what the values are at least spread over

    constructor(canvas, range) {
        this.#canvas = canvas;
        this.#range = range;
        new ResizeObserver(() => this.#later()).observe(canvas);
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#later());
    }

    clear() {
        [this.#line, this.#dots] = [[], []];
        this.#later();
    }

    add(x, y) {
        this.#line.push([x, y]);
        if (this.#line.length > MOST) this.#line = this.#line.filter((_, i) => i % 2 === 0);
        this.#later();
    }

    dot(x, y) {
        this.#dots.push([x, y]);
        this.#later();
    }

    #later() {
        if (this.#waiting) return;
        this.#waiting = true;
        requestAnimationFrame(() => {
            this.#waiting = false;
            this.#draw();
        });
    }

    #draw() {
        const canvas = this.#canvas;
        const [width, height] = [canvas.clientWidth, canvas.clientHeight];
        Object.assign(canvas, { width: width * devicePixelRatio, height: height * devicePixelRatio });
        const context = canvas.getContext("2d");
        context.scale(devicePixelRatio, devicePixelRatio);
        const points = [...this.#line, ...this.#dots];
        if (!points.length) return;

        const style = getComputedStyle(canvas);
        const ys = points.map(([, y]) => y);
        const low = Math.min(this.#range[0], ...ys);
        const high = Math.max(this.#range[1], ...ys);
        const last = Math.max(...points.map(([x]) => x));
        const [left, top, right, bottom] = [38, 8, 8, 8];
        const place = ([x, y]) => [
            left + ((width - left - right) * x) / last,
            top + ((height - top - bottom) * (high - y)) / (high - low),
        ];

        context.font = "11px system-ui, sans-serif";
        context.textAlign = "right";
        context.textBaseline = "middle";
        for (const share of [0, 0.5, 1]) {
            const value = low + share * (high - low);
            const [, y] = place([0, value]);
            context.fillStyle = style.getPropertyValue("--faint");
            context.fillText(value.toFixed(2), left - 5, y);
            context.fillStyle = style.getPropertyValue("--line");
            context.fillRect(left, Math.round(y), width - left - right, 1);
        }
        context.strokeStyle = style.getPropertyValue("--accent");
        context.lineWidth = 1.5;
        context.beginPath();
        for (const point of this.#line) context.lineTo(...place(point));
        context.stroke();
        context.fillStyle = style.getPropertyValue("--second");
        for (const point of this.#dots) {
            context.beginPath();
            context.arc(...place(point), 3.5, 0, 7);
            context.fill();
        }
    }
}

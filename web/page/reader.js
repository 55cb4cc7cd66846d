// Reads what is drawn, and shows what the network sees and says.

import { Bars, showPlanes, showSample } from "./views.js";

const ACROSS = [8, 16]; // planes side by side, of the first convolution and of those after it

const element = (id) => document.getElementById(id);

export class Reader {
    bytes = null; // the network's file
    #thread;
    #pad;
    #about = null; // classes, shape, kernels
    #bars = null;
    #chosen; // which of several digits is looked at
    #reading = false;
    #again = false;

    constructor(thread, pad) {
        this.#thread = thread;
        this.#pad = pad;
        pad.addEventListener("change", () => {
            element("hint").hidden = !pad.isEmpty;
            this.#chosen = undefined;
            this.#read();
        });
    }

    // Reads with another network from now on; `line` says which.
    async use(bytes, line) {
        const about = await this.#thread.call("network", bytes);
        if (String(about.classes) !== String(this.#about?.classes)) this.#bars = new Bars(element("bars"), about.classes);
        [this.bytes, this.#about] = [bytes, about];
        this.first ??= bytes;
        element("judge").textContent = line;
        element("built-in").hidden = bytes === this.first;
        this.#showKernels(about.kernels);
        this.#read();
    }

    // One reading at a time; what is drawn meanwhile is read after it, once and as it is then.
    async #read() {
        this.#again = true;
        if (this.#reading) return;
        this.#reading = true;
        while (this.#again) {
            this.#again = false;
            if (this.#pad.isEmpty) this.#showNothing("");
            else {
                const read = this.#thread.call("read", this.#pad.pixels, this.#chosen);
                await read.then((found) => this.#show(found), ({ message }) => this.#showNothing(message));
            }
            await new Promise((resolve) => setTimeout(resolve)); // the pad comes first
        }
        this.#reading = false;
    }

    #show({ digits, index, layers }) {
        const { classes, shape } = this.#about;
        const digit = digits[index];
        this.#bars.show(digit.probabilities, digit.guess);
        showSample(element("sample"), digit.sample, shape);
        const names = digits.map(({ guess }) => classes[guess]);
        const choices = () => names.map((name, i) => this.#choice(name, i, i === index));
        element("verdict").replaceChildren(...(digits.length === 1 ? names : choices()));
        element("doubt").textContent = digit.doubt ? `not sure: ${digit.doubt}` : "";
        this.#showLayers(layers);
    }

    // A digit of several, to be looked at.
    #choice(name, index, isChosen) {
        const button = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: name });
        button.setAttribute("aria-pressed", isChosen);
        button.addEventListener("click", () => {
            this.#chosen = index;
            this.#read();
        });
        return button;
    }

    #showNothing(why) {
        this.#bars.show(null);
        showSample(element("sample"), null, this.#about.shape);
        element("verdict").textContent = "\u00a0";
        element("doubt").textContent = why;
        element("activations").replaceChildren();
    }

    #showLayers(layers) {
        const box = element("activations");
        while (box.children.length > layers.length) box.lastChild.remove();
        layers.forEach((layer, index) => {
            const label = `What convolution ${index + 1} puts out: ${layer.count} planes of ${layer.height} by ${layer.width}`;
            showPlanes(canvas(box, index, label), layer, ACROSS[Math.min(index, 1)]);
        });
    }

    #showKernels(kernels) {
        element("kernels").hidden = !kernels;
        if (!kernels) return;
        const label = `${kernels.count} kernels of ${kernels.height} by ${kernels.width}`;
        showPlanes(canvas(element("kernels"), 0, label), kernels, 16);
    }
}

// Canvas number `index` in `box`, made where it is not there.
function canvas(box, index, label) {
    if (!box.children[index]) box.append(document.createElement("canvas"));
    const found = box.children[index];
    found.setAttribute("role", "img");
    found.setAttribute("aria-label", label);
    return found;
}

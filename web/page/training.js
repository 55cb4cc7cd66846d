// Training: the buttons, and what a run tells.

import { Chart } from "./chart.js";
import { fromUrl } from "./images.js";
import { showConfusion, showMistakes } from "./views.js";

// As many digits as are drawn within two seconds, of which a network learns enough to read a hand.
const DRAWN = [6000, 1000, 0];
const SMOOTH = 2000; // images over which the curves are smoothed, about
const PACE = 3000; // ms over which images per second are counted

const element = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(2)} %`;
const whole = new Intl.NumberFormat("en");

export class Training extends EventTarget {
    #thread;
    #settings;
    #loss = new Chart(element("loss"), [0, 0.5]);
    #accuracy = new Chart(element("accuracy"), [0.8, 1]);
    #images = null; // where they come from; null for digits drawn here
    #about = null; // what the thread said of them
    #run = null;
    #present; // gives the file of the network that the page reads with

    constructor(thread, settings, present) {
        super();
        this.#thread = thread;
        this.#settings = settings;
        this.#present = present;
        thread.addEventListener("progress", ({ detail }) => this.#progress(detail));
        thread.addEventListener("epoch", ({ detail }) => this.#epoch(detail));
        thread.addEventListener("weights", ({ detail: { bytes, epoch } }) => {
            this.dispatchEvent(Object.assign(new Event("network"), { bytes, epoch }));
        });
        element("start").addEventListener("click", () => this.start());
        element("stop").addEventListener("click", () => this.#stop());
        element("pause").addEventListener("click", () => this.#pause());
        settings.addEventListener("change", ({ name }) => {
            if (name === "rate" && this.#run && settings.areValid) thread.call("rate", Number(settings.values.rate));
        });
    }

    // Trains on these from now on: what images.js gives.
    use(images) {
        this.#images = images;
        const { data } = this.#settings.values;
        if ((data === "files") !== Boolean(images)) this.#settings.set("data", images ? "files" : "drawn");
    }

    async start() {
        if (this.#run || !this.#settings.areValid) return;
        const { rate, batch, epochs, dropout, seed, device, from, data } = this.#settings.values;
        if (data === "files" && !this.#images) return this.dispatchEvent(new Event("files"));
        this.#run = { begun: performance.now(), seen: 0, recent: [], smooth: null, epochs: Number(epochs), paused: false };
        this.#buttons();
        this.#loss.clear();
        this.#accuracy.clear();
        element("progress").value = 0;
        this.#say(data === "files" ? "Reading the images..." : "Drawing digits...");
        try {
            const address = this.#images?.url;
            const images = address ? await fromUrl(address) : (this.#images ?? { drawn: DRAWN });
            this.#about = await this.#thread.call("images", images);
            this.#say(device === "gpu" ? "Preparing the GPU: its driver compiles the shaders..." : "Preparing...");
            this.#run.recent = [];
            const end = await this.#thread.call("train", device, {
                epochs: Number(epochs),
                batchSize: Number(batch),
                learningRate: Number(rate),
                dropout: Number(dropout),
                seed: Number(seed),
                from: from === "present" ? this.#present() : undefined,
            });
            const seconds = ((performance.now() - this.#run.begun) / 1000).toFixed(1);
            this.#say(`${end === "done" ? "Done" : "Stopped"} after ${whole.format(this.#run.seen)} images in ${seconds} s.`);
        } catch (error) {
            this.#say(`Training ended: ${error.message}`);
            this.dispatchEvent(Object.assign(new Event("trouble"), { error }));
        } finally {
            this.#run = null;
            this.#buttons();
        }
    }

    async #stop() {
        this.#say("Stopping after this step...");
        await this.#thread.call("stop");
    }

    async #pause() {
        this.#run.paused = !this.#run.paused;
        this.#run.recent = [];
        if (this.#run.paused) this.#say("Paused.");
        this.#buttons();
        await this.#thread.call(this.#run.paused ? "pause" : "resume");
    }

    #buttons() {
        const run = this.#run;
        element("start").disabled = Boolean(run);
        for (const id of ["pause", "stop"]) element(id).disabled = !run;
        element("pause").textContent = run?.paused ? "Resume" : "Pause";
        element("selftest").disabled = Boolean(run);
        this.#settings.lock(Boolean(run));
    }

    #say(text) {
        element("status").textContent = text;
    }

    #progress({ work, epoch, done, batches, images, loss, accuracy }) {
        const run = this.#run;
        if (!run) return;
        if (work !== "train") {
            if (!run.paused) this.#say(`Epoch ${epoch}: ${work === "validate" ? "validating" : "testing"}, ${done} of ${batches}.`);
            return;
        }
        run.seen += images;
        const weight = Math.max(images / Math.min(SMOOTH, run.seen), 0.001);
        const [lossBefore, accuracyBefore] = run.smooth ?? [loss, accuracy];
        run.smooth = [lossBefore + weight * (loss - lossBefore), accuracyBefore + weight * (accuracy - accuracyBefore)];
        this.#loss.add(run.seen, run.smooth[0]);
        this.#accuracy.add(run.seen, run.smooth[1]);
        element("loss-now").textContent = run.smooth[0].toFixed(4);
        element("accuracy-now").textContent = percent(run.smooth[1]);
        element("progress").value = done / batches;
        if (run.paused) return;

        const now = performance.now();
        run.recent.push([now, run.seen]);
        while (run.recent.length > 2 && now - run.recent[0][0] > PACE) run.recent.shift();
        const [then, before] = run.recent[0];
        const pace = (1000 * (run.seen - before)) / (now - then);
        const left = (batches * (run.epochs - epoch + 1) - done) * (run.seen / (done + batches * (epoch - 1)) || 0);
        const time = pace > 0 ? `, ${duration(left / pace)} left` : "";
        const speed = pace > 0 ? `, ${whole.format(pace.toPrecision(2))} images/s` : "";
        this.#say(`Epoch ${epoch} of ${run.epochs}, step ${done} of ${batches}${speed}${time}.`);
    }

    #epoch({ epoch, train, val, test, seconds, confusion, mistakes }) {
        const { classes, shape } = this.#about;
        if (this.#run) {
            this.#loss.dot(this.#run.seen, val.loss);
            this.#accuracy.dot(this.#run.seen, val.accuracy);
        }
        element("epoch-title").parentElement.hidden = false;
        element("epoch-title").textContent = `After epoch ${epoch}`;
        element("epoch-line").textContent =
            `Accuracy: ${percent(train.accuracy)} in training, ${percent(val.accuracy)} on images held out (dots in the curves), ` +
            `${percent(test.accuracy)} on test images. It took ${duration(seconds)}.`;
        showConfusion(element("confusion"), [...confusion], classes);
        showMistakes(element("mistakes"), mistakes, shape, classes);
    }
}

function duration(seconds) {
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    if (seconds < 100) return `${Math.round(seconds)} s`;
    return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

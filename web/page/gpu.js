// Whether there is a GPU to train on, what it is called, and what to do where there is none.

export async function find() {
    if (!navigator.gpu) return { advice: missing() };
    const adapter = await navigator.gpu.requestAdapter().catch(() => null);
    if (!adapter) return { advice: "This browser knows WebGPU, but offers no GPU: see whether hardware acceleration is switched on in its settings." };
    const { vendor, architecture, description, isFallbackAdapter } = adapter.info;
    const name = description || [vendor, architecture].filter(Boolean).join(" ") || "a GPU without a name";
    return { name, software: isFallbackAdapter || /swiftshader|llvmpipe|basic render/i.test(`${name} ${architecture}`) };
}

function missing() {
    if (!isSecureContext) return "WebGPU is for secure pages: open this one by https, or from localhost.";
    const agent = navigator.userAgent;
    const linux = /Linux/.test(agent) && !/Android/.test(agent);
    if (/Firefox/.test(agent)) {
        return "This Firefox has no WebGPU. Versions from 141 have it on Windows and from 145 on Macs; elsewhere dom.webgpu.enabled in about:config switches it on.";
    }
    if (/Chrome|Chromium|Edg/.test(agent)) {
        return linux
            ? "This browser has no WebGPU. On Linux chrome://flags/#enable-unsafe-webgpu switches it on, in a current version."
            : "This browser has no WebGPU. Chrome and Edge have it from 113 on (on Android from 121): update it.";
    }
    if (/Safari/.test(agent)) return "This Safari has no WebGPU. It comes with Safari 26; before, it is among the feature flags in the settings.";
    return "This browser has no WebGPU. Current versions of Chrome, Edge, Safari and Firefox have it.";
}

//! The report of a run: from what it kept and how its network judged the test images to pictures and a page.

use crate::cli::dataset::{NOT_MNIST, is_synthetic};
use crate::cli::thousands;
use mnist_wgpu::checkpoint::Checkpoint;
use mnist_wgpu::data::Dataset;
use mnist_wgpu::evaluation::{Confusion, Judged, worst_mistakes};
use mnist_wgpu::history::Row;
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::augment::{self, Amounts, Augment};
use mnist_wgpu::report::{self, Filters, Material, ReportError, mistakes};
use mnist_wgpu::run::{Config, Device, Optimizer, Run, Training};
use mnist_wgpu::sources::Found;

/// Draws the pictures and writes the page into the run's folder. `network` is what `judged` the test images of `found`.
pub fn write(
    run: &Run,
    config: &Config,
    found: &Found,
    history: &[Row],
    network: &Checkpoint,
    judged: &Judged,
) -> Result<(), ReportError> {
    let data = &found.dataset;
    let image = |place: usize| data.test.pixels[place * data.image_len()..][..data.image_len()].to_vec();
    let worst = worst_mistakes(judged, &data.test.labels, mistakes::MOST);
    let worst: Vec<_> = worst.into_iter().map(|mistake| (mistake, image(mistake.place))).collect();
    let filters = network.model.parameters().first().and_then(|kernels| {
        let shape = kernels.shape.clone().try_into().ok()?;
        Some(Filters { shape, weights: &network.state.parameters()[kernels.range.clone()] })
    });
    let augmented = augmented(&config.training, data);
    let material = Material {
        title: &run.name(),
        warning: is_synthetic(found).then_some(NOT_MNIST),
        facts: &facts(config, &network.model),
        history,
        test_loss: judged.totals.loss(),
        test_accuracy: judged.totals.accuracy(),
        classes: &data.classes,
        confusion: &Confusion::of(judged, &data.test.labels),
        shape: data.shape,
        mistakes: &worst,
        augmented: &augmented,
        filters,
    };
    report::write(&run.folder, &material)
}

/// What the page says of settings, data and device: names and values, in the order in which they are shown.
fn facts(config: &Config, model: &Model) -> Vec<(String, String)> {
    let Config { training, data, program, .. } = config;
    let device = |device: &Device| {
        let known = [Some(&device.name), device.backend.as_ref(), device.driver.as_ref(), device.instructions.as_ref()];
        known.into_iter().flatten().cloned().collect::<Vec<_>>().join(", ")
    };
    let layers: Vec<String> = model.layers().iter().map(ToString::to_string).collect();
    let momentum = if training.nesterov { "Nesterov momentum" } else { "momentum" };
    let rate = training.learning_rate;
    let mut optimizer = match training.optimizer {
        Optimizer::Sgd => format!("SGD, learning rate {rate}, {momentum} {}", training.momentum),
        Optimizer::AdamW => format!("AdamW, learning rate {rate}"),
    };
    if training.weight_decay > 0.0 {
        optimizer += &format!(", weight decay {}", training.weight_decay);
    }
    let schedule = match (training.schedule, training.warmup) {
        (kind, 0.0) => kind.name().to_string(),
        (kind, warmup) => format!("{}, {warmup} epochs of warm-up", kind.name()),
    };
    let images = |count| thousands(count) + " images";
    let mut facts = vec![
        ("Network", layers.join(" ")),
        ("Begun with", training.from.clone().unwrap_or_else(|| "random numbers".into())),
        ("Parameters", thousands(model.parameter_count())),
        ("Optimizer", optimizer),
        ("Schedule", schedule),
        ("Label smoothing", if training.label_smoothing > 0.0 { training.label_smoothing.to_string() } else { none() }),
        ("Moving average", if training.ema > 0.0 { format!("of the weights, {}", training.ema) } else { none() }),
        ("Augmentation", training.augment.map_or_else(none, augmentation)),
        ("Batch size", training.batch_size.to_string()),
        ("Epochs", training.epochs.to_string()),
        ("Seed", training.seed.to_string()),
        ("Held out for validation", format!("{}%", (100.0 * training.val_fraction) as f32)),
        ("Data set", data.name.clone()),
        ("Training and validation", images(data.training_images)),
        ("Test", images(data.test_images)),
        ("One image", format!("{} pixels, {}", sized(data.shape), if data.shape[0] == 1 { "grey" } else { "colour" })),
        ("Classes", thousands(data.classes)),
        ("SHA-256 of the data", data.sha256.clone()),
        ("Device", device(&config.device)),
        ("Program", format!("mnist-wgpu {}", program.version)),
        ("Started", program.started.clone()),
    ];
    facts.extend(config.resumed.iter().map(|resumed| {
        let (when, after, on) = (&resumed.program.started, resumed.epochs, device(&resumed.device));
        ("Taken up again", format!("{when}, after epoch {after}, on {on}, by mnist-wgpu {}", resumed.program.version))
    }));
    facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// A few training images, each as it is and as training moves it.
fn augmented(training: &Training, data: &Dataset) -> Vec<Vec<Vec<u8>>> {
    const IMAGES: usize = 8;
    const STEPS: u32 = 3;
    let Some(amounts) = training.augment else { return Vec::new() };
    let augment = Augment::new(data.shape, amounts, training.seed);
    let images = data.train.pixels.chunks_exact(data.image_len()).take(IMAGES);
    let views = |(index, image): (u32, &[u8])| {
        let moved = |step| {
            let mut x = vec![0.0f32; image.len()];
            augment::cpu::image(&augment, step, index, image, &mut x);
            x.into_iter().map(|x| (255.0 * x).round() as u8).collect()
        };
        std::iter::once(image.to_vec()).chain((0..STEPS).map(moved)).collect()
    };
    (0..).zip(images).map(views).collect()
}

fn none() -> String {
    "none".into()
}

fn augmentation(mut amounts: Amounts) -> String {
    let used = amounts.named().into_iter().filter(|(_, amount, _)| **amount > 0.0);
    used.map(|(name, amount, _)| format!("{name} {amount}")).collect::<Vec<_>>().join(", ")
}

/// Rows and columns of an image.
fn sized([_, height, width]: [usize; 3]) -> String {
    format!("{height}x{width}")
}

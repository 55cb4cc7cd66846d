//! What the page of a run says of its settings, data and device.

use crate::cli::thousands;
use mnist_wgpu::model::Model;
use mnist_wgpu::run::Config;

/// Names and values, in the order in which they are shown.
pub fn of(config: &Config, model: &Model) -> Vec<(String, String)> {
    let Config { training, data, device, program } = config;
    let layers: Vec<String> = model.layers().iter().map(ToString::to_string).collect();
    let momentum = if training.nesterov { "Nesterov momentum" } else { "momentum" };
    let images = |count| thousands(count) + " images";
    let known = [Some(&device.name), device.backend.as_ref(), device.driver.as_ref()].into_iter().flatten();
    let mut facts = vec![
        ("Network", layers.join(" ")),
        ("Parameters", thousands(model.parameter_count())),
        ("Optimizer", format!("SGD, learning rate {}, {momentum} {}", training.learning_rate, training.momentum)),
        ("Batch size", training.batch_size.to_string()),
        ("Epochs", training.epochs.to_string()),
        ("Seed", training.seed.to_string()),
        ("Held out for validation", format!("{}%", 100.0 * training.val_fraction)),
        ("Data set", data.name.clone()),
        ("Training and validation", images(data.training_images)),
        ("Test", images(data.test_images)),
        ("SHA-256 of the data", data.sha256.clone()),
        ("Device", known.cloned().collect::<Vec<_>>().join(", ")),
    ];
    facts.extend(device.variant.as_ref().map(|variant| ("Kernels", format!("the {variant} variant"))));
    facts.push(("Program", format!("mnist-wgpu {}", program.version)));
    facts.push(("Started", program.started.clone()));
    facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

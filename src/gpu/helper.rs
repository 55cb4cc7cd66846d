//! A second device that compiles for the first. llvmpipe compiles a kernel at its first dispatch, in one thread of each device, and
//! takes nine tenths of a cold start for it. But it keeps what it compiled in the user's cache, where all its devices look first.

use super::network::Network;
use super::{Context, GpuError, Planner, Tensor};
use crate::data::CLASSES;
use crate::engine::Settings;
use crate::model::Model;
use std::ops::RangeFrom;
use std::sync::PoisonError;

/// The stages whose backward pass the helper compiles: of the classic network about half of what there is to compile.
pub const SHARE: RangeFrom<usize> = 1..;

/// Runs `plan`, beside a helper if that pays, and tells it whether.
pub fn beside<T>(context: &Context, model: &Model, settings: &Settings, plan: impl FnOnce(bool) -> T) -> T {
    if !pays(context) {
        return plan(false);
    }
    std::thread::scope(|scope| {
        let helper = scope.spawn(|| compile_backward(context, model, settings));
        let planned = plan(true);
        // Without its help, training is right all the same, and starts later.
        match helper.join() {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => log::warn!("the helper that compiles kernels: {error}"),
            Err(_) => log::warn!("the helper that compiles kernels panicked"),
        }
        planned
    })
}

/// For the first network of a device, where the driver is one that compiles late and shares what it has, and a core is there for it.
fn pays(context: &Context) -> bool {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let fresh = context.kernels.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
    context.info.driver == "llvmpipe" && cores > 1 && fresh
}

/// Plans what the helper compiles on a device of its own, which it returns. The tensors are like those of `context`, since the driver
/// compiles for the sizes of textures, too.
fn compile_backward(context: &Context, model: &Model, settings: &Settings) -> Result<Context, GpuError> {
    let context = pollster::block_on(context.another())?;
    let network = Network::new(&context, model, settings)?;
    let d_logits = Tensor::zeros(&context, "d_logits", settings.batch_size * CLASSES)?;
    let mut planner = Planner::new(&context);
    network.plan_backward(&mut planner, d_logits, SHARE)?;
    let _ = context.device.poll(wgpu::PollType::wait_indefinitely()); // an error of the device is one of the context, too
    context.check()?;
    Ok(context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Origin, synthetic};
    use crate::gpu::{Adapters, GpuEngine, Options};

    #[test]
    fn the_helper_compiles_what_training_runs() {
        let adapters = pollster::block_on(Adapters::find());
        assert!(!adapters.is_empty(), "{}", Adapters::none_found());
        let context = pollster::block_on(adapters.open(0, Options::default())).expect("the device opens");
        let model = Model::new([1, 28, 28], Model::classic_layers(0.5), CLASSES).expect("a model");
        let settings = Settings::default();
        let (train, test) = synthetic(40, 10, 0);
        let data = Dataset { name: "digits".into(), origin: Origin::Synthetic { reason: "a test".into() }, train, test };
        let helper = compile_backward(&context, &model, &settings).expect("the helper compiles");
        GpuEngine::new(&context, &model, &data, settings).expect("the engine is made");

        let keys = |context: &Context| -> Vec<String> { context.kernels.lock().expect("keys").keys().cloned().collect() };
        let (compiled, used) = (keys(&helper), keys(&context));
        let wasted: Vec<_> = compiled.iter().filter(|key| !used.contains(key)).collect();
        assert!(wasted.is_empty(), "compiled, but not used: {wasted:?}");
        assert!(compiled.len() * 3 > used.len(), "{} of {} kernels are no help", compiled.len(), used.len());
    }
}

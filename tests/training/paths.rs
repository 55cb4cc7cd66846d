//! The WGSL path follows the CPU path, step by step, from one seed.
//!
//! Two paths that round differently drift apart, and how fast is a property of the training, not of the paths: most
//! differences fade or grow slowly with the curvature of the loss, and one that pushes a sum across ReLU's zero or a
//! pooling tie jumps. No constant covers that, so it is measured: twins of the CPU's run start with every parameter
//! moved to a neighbouring float, one rounding each, and the farthest of them from the run itself says what one
//! rounding at the start has grown to by step t. The paths round anew in every step, by about as much (a parameter's
//! update rounds once, and lr times the gradient's own error is below that). These roundings are independent, so that t
//! of them come to sqrt(t) times one, and none has grown for longer than those of the twins. To that come, for a loss
//! as for a parameter, the 48 roundings of its largest value that the golden tests allow and explain.

use crate::common::engines::Any;
use crate::common::{BOTH, EPS, contexts, twin};
use crate::{first, images, net};
use mnist_wgpu::engine::Settings;
use mnist_wgpu::model::Model;

const STEPS: usize = 100;
/// So many that some of them jump: four, and on one processor sixteen, have all been spared where the GPU's run was
/// not.
const TWINS: u32 = 32;
const ROUNDINGS: f64 = 48.0;

struct Run {
    name: String,
    /// Mean loss of each step's batch.
    losses: Vec<f64>,
    correct: Vec<u32>,
    parameters: Vec<f32>,
}

fn settings() -> Settings {
    Settings { seed: 3, ..Settings::default() }
}

fn run(mut engine: Any, parameters: &[f32], steps: usize) -> Run {
    engine.start(parameters);
    let batch_size = settings().batch_size;
    let metrics = engine.train(&first(steps * batch_size), 0, 10);
    let losses = metrics.iter().map(|batch| f64::from(batch.loss_sum) / batch_size as f64).collect();
    let correct = metrics.iter().map(|batch| batch.correct).collect();
    Run { losses, correct, parameters: engine.now().parameters().to_vec(), name: engine.name }
}

/// The largest difference of two arenas; NaN if there is one.
fn farthest(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    differences.max_by(f64::total_cmp).expect("parameters")
}

/// The CPU's run, and how far another path may be from it.
struct Reference {
    run: Run,
    /// Of each step's loss.
    loss_bounds: Vec<f64>,
    /// Of each parameter after the last step.
    parameter_bound: f64,
}

impl Reference {
    fn new(model: &Model, steps: usize) -> Self {
        let cpu = |parameters: &[f32]| run(Any::cpu(model, images(), settings()), parameters, steps);
        let start = model.init(settings().seed);
        let base = cpu(&start);
        let (mut grown, mut parameters_grown) = (vec![0.0; steps], 0.0);
        for number in 0..TWINS {
            let twin = cpu(&twin(&start, number));
            for (grown, (a, b)) in grown.iter_mut().zip(twin.losses.iter().zip(&base.losses)) {
                *grown = f64::max(*grown, (a - b).abs());
            }
            parameters_grown = f64::max(parameters_grown, farthest(&twin.parameters, &base.parameters));
        }
        let mut most = 0.0;
        let loss_bound = |(step, (grown, loss)): (usize, (&f64, &f64))| {
            most = f64::max(most, *grown);
            ROUNDINGS * EPS * loss + (step as f64).sqrt() * most
        };
        let loss_bounds = grown.iter().zip(&base.losses).enumerate().map(loss_bound).collect();
        let largest = base.parameters.iter().fold(0.0, |most, p| f64::max(most, p.abs().into()));
        let parameter_bound = ROUNDINGS * EPS * largest + (steps as f64).sqrt() * parameters_grown;
        Self { run: base, loss_bounds, parameter_bound }
    }

    fn check(&self, other: &Run) {
        let far = farthest(&other.parameters, &self.run.parameters);
        let used = |step: usize| (other.losses[step] - self.run.losses[step]).abs() / self.loss_bounds[step];
        let worst = (0..other.losses.len()).max_by(|&a, &b| used(a).total_cmp(&used(b))).expect("steps");
        println!(
            "{}: used {:.3} of the loss's bound {:.1e} (step {worst}), {:.3} of the parameters' {:.1e}",
            other.name,
            used(worst),
            self.loss_bounds[worst],
            far / self.parameter_bound,
            self.parameter_bound
        );
        assert_eq!(other.losses.len(), self.run.losses.len(), "{}: steps", other.name);
        for (step, (got, want)) in other.losses.iter().zip(&self.run.losses).enumerate() {
            let bound = self.loss_bounds[step];
            // Written so that a NaN fails.
            let near = (got - want).abs() <= bound;
            assert!(near, "{}: step {step} has a loss of {got}, the CPU {want}, allowed {bound:e}", other.name);
            // Only a sample that stands between two classes by so little may be judged otherwise.
            let (got, want) = (other.correct[step], self.run.correct[step]);
            assert!(got.abs_diff(want) <= 1, "{}: step {step} judges {got} right, the CPU {want}", other.name);
        }
        let bound = self.parameter_bound;
        assert!(far <= bound, "{}: parameters are up to {far:e} from the CPU's, allowed {bound:e}", other.name);
    }
}

#[test]
fn every_gpu_follows_the_cpu_for_a_hundred_steps() {
    let model = net(0.5);
    let reference = Reference::new(&model, STEPS);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (from, to) = (mean(&reference.run.losses[..10]), mean(&reference.run.losses[STEPS - 10..]));
    assert!(to < 0.98 * from, "the net learns meanwhile, or there is little to follow: {from} to {to}");
    // A bound that has grown to what is learned would say nothing.
    assert!(reference.loss_bounds.iter().all(|&bound| bound < 0.01), "{:?}", reference.loss_bounds);

    reference.check(&run(Any::cpu(&model, images(), Settings { fuse: false, ..settings() }), &model.init(3), STEPS));
    for context in &contexts(&BOTH[1..]) {
        reference.check(&run(Any::gpu(context, &model, images(), settings()), &model.init(3), STEPS));
    }
}

/// Few steps: where the device is software, the checks make it many times slower.
#[test]
fn default_limits_and_run_time_checks_change_nothing() {
    const STEPS: usize = 6;
    let model = net(0.5);
    let reference = Reference::new(&model, STEPS);
    for context in &contexts(&BOTH) {
        for fuse in [true, false] {
            let settings = Settings { fuse, ..settings() };
            reference.check(&run(Any::gpu(context, &model, images(), settings), &model.init(3), STEPS));
        }
    }
}

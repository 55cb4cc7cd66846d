//! A self-test finds a kernel that computes wrongly, and names it, what it wrote and where.

mod common;

use mnist_wgpu::gpu::{GpuError, Planner};
use mnist_wgpu::ops::linear::Linear;
use mnist_wgpu::ops::{BackwardTensors, ForwardTensors, OnGpu, Op};
use mnist_wgpu::parity::affine::{self, Affine, Mirror, Terms};
use mnist_wgpu::parity::selftest::{Check, Failure};
use mnist_wgpu::parity::{Fault, Gpu, Mismatch};

const OP: Linear = Linear::new(65, 9);

/// What a wrong driver might make of `linear`.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// The last sample is never computed.
    LastSample,
    /// The gradient of the input is that of another weight.
    OtherWeight,
    /// The last sample has no part in the gradients of the parameters.
    MissingTerm,
}

/// `linear`, which one of its passes computes wrongly on the GPU.
#[derive(Debug)]
struct Faulty(Wrong);

impl Op for Faulty {
    fn name(&self) -> &'static str {
        OP.name()
    }

    fn input_len(&self) -> usize {
        OP.input_len()
    }

    fn output_len(&self) -> usize {
        OP.output_len()
    }
}

impl OnGpu for Faulty {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let n = if let Wrong::LastSample = self.0 { t.n - 1 } else { t.n };
        OP.plan_forward(planner, &ForwardTensors { n, ..*t })
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        match self.0 {
            Wrong::LastSample => OP.plan_backward(planner, t),
            Wrong::OtherWeight => {
                OP.plan_backward(planner, &BackwardTensors { params: &[t.x.clone(), t.params[1].clone()], ..*t })
            }
            Wrong::MissingTerm => {
                OP.plan_backward(planner, t)?;
                OP.plan_backward(planner, &BackwardTensors { n: t.n - 1, d_x: None, ..*t })
            }
        }
    }
}

impl Affine for Faulty {
    fn weight_len(&self) -> usize {
        OP.weight_len()
    }

    fn bias_len(&self) -> usize {
        OP.bias_len()
    }

    fn terms(&self, n: usize) -> Terms {
        OP.terms(n)
    }

    fn mirror(&self, x: &[f64], weight: &[f64], bias: &[f64], d_y: &[f64]) -> Mirror {
        OP.mirror(x, weight, bias, d_y)
    }
}

/// What a check of such an op finds, on every adapter.
fn failures(wrong: Wrong) -> Vec<Failure> {
    let check = Check::new("linear", "9 x 65 -> 9", async move |gpus: &[Gpu]| affine::check(gpus, 9, &Faulty(wrong)).await);
    let gpus = common::contexts(&common::BOTH[1..]).into_iter().map(Gpu::new);
    gpus.map(|gpu| pollster::block_on(check.run(&gpu)).failure.unwrap_or_else(|| panic!("{gpu}: {wrong:?} went unseen")))
        .collect()
}

#[test]
fn an_output_that_was_never_written_is_found() {
    for Failure { failed, suspects } in failures(Wrong::LastSample) {
        assert_eq!(suspects, ["linear.forward"]);
        let text = failed.to_string();
        assert!(text.contains("LastSample") && text.contains("batch 9") && text.contains("never written"), "{text}");
        let first = 8 * OP.outputs;
        let Fault::Mismatch(Mismatch::Unwritten { what, element }) = *failed.fault else { panic!("{text}") };
        assert_eq!((what.as_str(), element), ("y", first));
    }
}

#[test]
fn a_wrong_gradient_is_found_and_the_kernel_that_wrote_it_named() {
    for (wrong, result, entries) in [
        (Wrong::OtherWeight, "d_x", &["linear.backward"][..]),
        (Wrong::MissingTerm, "d_weight", &["linear.backward_params", "linear.backward"]),
    ] {
        for Failure { failed, suspects } in failures(wrong) {
            let Fault::Mismatch(mismatch) = &*failed.fault else { panic!("{failed}") };
            assert_eq!(mismatch.what(), result, "{failed}");
            assert_eq!(suspects, entries, "{failed}");
        }
    }
}

#[test]
fn a_right_kernel_passes_and_tells_how_near_each_result_came() {
    let check = Check::new("linear", "9 x 65 -> 9", async |gpus: &[Gpu]| affine::check(gpus, 9, &OP).await);
    for gpu in common::contexts(&common::BOTH[1..]).into_iter().map(Gpu::new) {
        let outcome = pollster::block_on(check.run(&gpu));
        assert!(outcome.failure.is_none());
        assert_eq!(outcome.compared.iter().map(|c| c.what.as_str()).collect::<Vec<_>>(), ["y", "d_x", "d_weight", "d_bias"]);
        assert!(outcome.compared.iter().all(|c| 0.0 < c.share && c.share <= 1.0), "{:?}", outcome.compared);
        assert!(outcome.entries.iter().any(|entry| entry == "linear.forward"), "{:?}", outcome.entries);
    }
}

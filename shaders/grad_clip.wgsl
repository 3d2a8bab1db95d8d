// norm = √(Σ partial), factor = min(1, max_norm / (norm + 1e-6)), or 0 where the norm or the loss is not finite
// The last pass of the norm of all gradients, and what an update multiplies them by. With a max_norm of 0 nothing is
// clipped: factor = 1. A factor of 0 says that there is no update, so no other reason gives it.
// One workgroup makes both.
//!use reduce
struct Params { n: u32, max_norm: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial_sums: array<f32>;  // [n]
@group(0) @binding(2) var<storage, read> loss: array<f32>;          // [1]
@group(0) @binding(3) var<storage, read_write> norm: array<f32>;    // [1]
@group(0) @binding(4) var<storage, read_write> factor: array<f32>;  // [1]

const WG = 256u;
const LEAST = 1.1754944e-38;

// finite(x) looks at the bits of x: comparisons may take it that there is no NaN.
fn finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }

//!tile 1
@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < p.n; i += WG) {
        sum += partial_sums[i];
    }
    sum = workgroup_sum(lane, sum);
    if lane != 0u {
        return;
    }
    let length = sqrt(sum);
    norm[0u] = length;
    factor[0u] = 1.0;
    if p.max_norm > 0.0 {
        factor[0u] = clamp(p.max_norm / (length + 1e-6), LEAST, 1.0);
    }
    if !finite(length) || !finite(loss[0u]) {
        factor[0u] = 0.0;
    }
}

// dx[i] = dy[i] · f'(x[i]), the gradient of unary
// x, dy, dx: n elements. One invocation makes one element, one workgroup WG of them.
//!use fold
//!use math
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // [n]
@group(0) @binding(2) var<storage, read> dy: array<f32>;        // [n]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;  // [n]

const WG = 64u;
const F = 0u;  // as in unary
const_assert F < 9u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let v = x[i];
    var slope: f32;
    switch F {
        case 1u: { slope = gelu_tanh_grad(v); }
        case 2u: { slope = quick_gelu_grad(v); }
        case 3u: { slope = select(0.0, 1.0, v > 0.0); }
        case 4u: { slope = silu_grad(v); }
        case 5u: { slope = sigmoid(v) * sigmoid(-v); }
        case 6u: { slope = sigmoid(-v); }
        case 7u: { slope = exp(v); }
        case 8u: { slope = 4.0 * sigmoid(2.0 * v) * sigmoid(-2.0 * v); }  // 1 − tanh², without its cancellation
        default: { slope = gelu_erf_grad(v); }
    }
    dx[i] = dy[i] * slope;
}

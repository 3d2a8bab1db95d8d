// y[i] = f(x[i])
// x, y: n elements. One invocation makes one element, one workgroup WG of them.
//!use fold
//!use math
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [n]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [n]

const WG = 64u;
const F = 0u;  // 0 GELU, 1 GELU by tanh, 2 quick GELU, 3 ReLU, 4 SiLU, 5 sigmoid, 6 log sigmoid, 7 exp, 8 tanh
const_assert F < 9u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let v = x[i];
    switch F {
        case 1u: { y[i] = gelu_tanh(v); }
        case 2u: { y[i] = quick_gelu(v); }
        case 3u: { y[i] = relu(v); }
        case 4u: { y[i] = silu(v); }
        case 5u: { y[i] = sigmoid(v); }
        case 6u: { y[i] = log_sigmoid(v); }
        case 7u: { y[i] = exp(v); }
        case 8u: { y[i] = tanh_safe(v); }
        default: { y[i] = gelu_erf(v); }
    }
}

// w2 = w·(1 − lr·decay) − lr / bias1 · m2 / (√(v2 / bias2) + eps), m2 = m + rate1·(grad − m), v2 = v + rate2·(grad² − v)
// One step of AdamW; hyper holds lr, rate1 = 1 − β1, rate2 = 1 − β2, eps, decay, bias1 = 1 − β1ᵗ, bias2 = 1 − β2ᵗ; decay counts where has_decay.
// One invocation makes one element of each result, one workgroup WG of them.
//!use fold
//!use packed
struct Params { n: u32, has_decay: u32, cols: u32, transposed: u32, blocks: u32, depth: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;         // [n], packed unless blocks is 0
@group(0) @binding(2) var<storage, read> grad: array<f32>;      // [n]
@group(0) @binding(3) var<storage, read> m: array<f32>;         // [n]
@group(0) @binding(4) var<storage, read> v: array<f32>;         // [n]
@group(0) @binding(5) var<storage, read> hyper: array<f32>;     // [7]
@group(0) @binding(6) var<storage, read_write> w2: array<f32>;  // [n]
@group(0) @binding(7) var<storage, read_write> m2: array<f32>;  // [n]
@group(0) @binding(8) var<storage, read_write> v2: array<f32>;  // [n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let lr = hyper[0u];
    let eps = hyper[3u];
    let decay = select(0.0, hyper[4u], p.has_decay != 0u);
    let g = grad[i];
    let first = fma(hyper[1u], g - m[i], m[i]);
    let second = fma(hyper[2u], g * g - v[i], v[i]);
    m2[i] = first;
    v2[i] = second;
    let width = sqrt(second) / sqrt(hyper[6u]) + eps;
    w2[i] = w[place(i, p.cols, p.transposed, p.blocks, p.depth)] * (1.0 - lr * decay) - lr / hyper[5u] * first / width;
}

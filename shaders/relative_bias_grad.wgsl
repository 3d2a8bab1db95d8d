// dtable[d,h] = Σ dy[h,q,k] over the pairs of tokens q, k of a window that are d apart: the gradient of relative_bias.wgsl
// One invocation makes one of the n elements of dtable, one workgroup WG of them.
//!use fold
struct Params { n: u32, heads: u32, height: u32, width: u32, prefix: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;            // [heads, tokens, tokens]
@group(0) @binding(2) var<storage, read_write> dtable: array<f32>;  // [(2·height − 1)·(2·width − 1), heads]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let tokens = p.prefix + p.height * p.width;
    let head = i % p.heads;
    let down = i / p.heads / (2u * p.width - 1u);  // qy − ky + height − 1
    let right = i / p.heads % (2u * p.width - 1u);
    var sum = 0.0;
    for (var ky = max(p.height - 1u, down) - down; ky < min(p.height, 2u * p.height - 1u - down); ky++) {
        var row = 0.0;
        for (var kx = max(p.width - 1u, right) - right; kx < min(p.width, 2u * p.width - 1u - right); kx++) {
            let q = p.prefix + (ky + down + 1u - p.height) * p.width + kx + right + 1u - p.width;
            let k = p.prefix + ky * p.width + kx;
            row += dy[(head * tokens + q) * tokens + k];
        }
        sum += row;
    }
    dtable[i] = sum;
}

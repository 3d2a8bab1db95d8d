// y[b, lead + gy·gw + gx, (c·patch_h + v)·patch_w + u] = x[b, c, gy·patch_h + v, gx·patch_w + u]
// x: an image; y: its whole patches, each flattened as an OIHW convolution weight is; gw = width / patch_w. The first
// lead rows of each image in y are zeros. BYTES: x has the bytes of images [height, width, 3], four in each word, whose
// values are in levels.
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params {
    n: u32, channels: u32, height: u32, width: u32, patch_h: u32, patch_w: u32, lead: u32,
    words: u32  // of an image's bytes
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;        // [batch, channels, height, width] of f32, or [batch, words]
@group(0) @binding(2) var<storage, read> levels: array<f32>;   // [channels, 256], absent unless BYTES
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [batch, lead + gh·gw, channels·patch_h·patch_w]

const WG = 64u;
const BYTES = false;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let gh = p.height / p.patch_h;
    let gw = p.width / p.patch_w;
    let u = i % p.patch_w;
    let v = i / p.patch_w % p.patch_h;
    let area = p.patch_h * p.patch_w;
    let c = i / area % p.channels;
    let tokens = p.lead + gh * gw;
    let token = i / (area * p.channels);
    if token % tokens < p.lead {
        y[i] = 0.0;
        return;
    }
    let cell = token % tokens - p.lead;
    let row = cell / gw * p.patch_h + v;
    let col = cell % gw * p.patch_w + u;
    let image = token / tokens;
    if BYTES {
        let at = (row * p.width + col) * p.channels + c;
        y[i] = levels[256u * c + ((x[image * p.words + at / 4u] >> (at % 4u * 8u)) & 255u)];
    } else {
        y[i] = bitcast<f32>(x[((image * p.channels + c) * p.height + row) * p.width + col]);
    }
}

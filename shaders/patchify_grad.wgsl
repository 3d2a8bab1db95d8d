// dx[b,c,row,col] = dy[b, lead + gy·gw + gx, (c·patch_h + row mod patch_h)·patch_w + col mod patch_w], the gradient of patchify
// gy = row / patch_h, gx = col / patch_w, gw = width / patch_w; 0 in the pixels that no whole patch covers.
// One invocation makes one of the n elements of dx, one workgroup WG of them.
//!use fold
struct Params { n: u32, channels: u32, height: u32, width: u32, patch_h: u32, patch_w: u32, lead: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;        // [batch, lead + gh·gw, channels·patch_h·patch_w]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;  // [batch, channels, height, width]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let gh = p.height / p.patch_h;
    let gw = p.width / p.patch_w;
    let col = i % p.width;
    let row = i / p.width % p.height;
    let c = i / (p.width * p.height) % p.channels;
    let b = i / (p.width * p.height * p.channels);
    let gy = row / p.patch_h;
    let gx = col / p.patch_w;
    if gy >= gh || gx >= gw {
        dx[i] = 0.0;
        return;
    }
    let token = b * (p.lead + gh * gw) + p.lead + gy * gw + gx;
    dx[i] = dy[((token * p.channels + c) * p.patch_h + row % p.patch_h) * p.patch_w + col % p.patch_w];
}

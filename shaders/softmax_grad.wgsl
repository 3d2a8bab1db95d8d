// dx[r,j] = y[r,j] · (dy[r,j] − Σ_j y[r,j] · dy[r,j]), the gradient of softmax
// y, dy, dx: rows of cols elements; in_place: dx holds dy at first. DROPOUT: dy is the gradient of what dropout.wgsl
// leaves of y. One workgroup makes one row.
//!use fold
//!use random
//!use reduce
struct Params { rows: u32, cols: u32, in_place: u32, stream: u32, limit: u32, drop_scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>;         // [rows, cols]
@group(0) @binding(2) var<storage, read> dy: array<f32>;        // [rows, cols], absent if in_place
@group(0) @binding(3) var<storage, read> seed: array<u32>;      // [2], absent without DROPOUT
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;  // [rows, cols]

const WG = 32u;
const DROPOUT = false;

fn flow(i: u32) -> f32 {
    var v: f32;
    if p.in_place != 0u {
        v = dx[i];
    } else {
        v = dy[i];
    }
    if DROPOUT {
        v = select(0.0, p.drop_scale * v, random_word(vec2<u32>(seed[0], seed[1]), p.stream, i) > p.limit);
    }
    return v;
}

//!tile 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group_index(wg);
    if row >= p.rows {
        return;
    }
    var dot = 0.0;
    for (var j = lane; j < p.cols; j += WG) {
        let i = row * p.cols + j;
        dot = fma(y[i], flow(i), dot);
    }
    dot = workgroup_sum(lane, dot);
    for (var j = lane; j < p.cols; j += WG) {
        let i = row * p.cols + j;
        dx[i] = y[i] * (flow(i) - dot);
    }
}

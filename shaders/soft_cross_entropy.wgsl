// loss[r] = Σ_j t[r,j]·(log sum_r + top_r − x[r,j]), sum_r = Σ_j exp(x[r,j] − top_r), top_r = max_j x[r,j], mass_r = Σ_j t[r,j]
// x, t: rows of cols logits and targets. One workgroup makes one row.
//!use fold
//!use reduce
struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;           // [rows, cols]
@group(0) @binding(2) var<storage, read> t: array<f32>;           // [rows, cols]
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;  // [rows]
@group(0) @binding(4) var<storage, read_write> top: array<f32>;   // [rows]
@group(0) @binding(5) var<storage, read_write> sum: array<f32>;   // [rows]
@group(0) @binding(6) var<storage, read_write> mass: array<f32>;  // [rows]

const WG = 32u;

//!tile 1
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group_index(wg);
    if row >= p.rows {
        return;
    }
    let at = row * p.cols;
    var greatest = -3.4028234e38;
    for (var j = lane; j < p.cols; j += WG) {
        greatest = max(greatest, x[at + j]);
    }
    greatest = workgroup_max(lane, greatest);
    var total = 0.0;
    var targets = 0.0;
    var below = 0.0; // how far the targets' logits are below the greatest
    for (var j = lane; j < p.cols; j += WG) {
        let difference = greatest - x[at + j];
        total += exp(-difference);
        targets += t[at + j];
        below = fma(t[at + j], difference, below);
    }
    total = workgroup_sum(lane, total);
    targets = workgroup_sum(lane, targets);
    below = workgroup_sum(lane, below);
    if lane == 0u {
        top[row] = greatest;
        sum[row] = total;
        mass[row] = targets;
        loss[row] = fma(targets, log(total), below);
    }
}

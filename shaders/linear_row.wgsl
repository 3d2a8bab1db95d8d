// y = f(x · Wᵀ · scale + bias) + residual. BACKWARD: y = (x · W) · f'(residual), where x is dy and y is dx.
// For a row or a few, of which what takes time is to read W: one workgroup makes one row × four columns, and neighbouring
// invocations take neighbouring steps of a block, which lie side by side.
//!use fold
//!use linear
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Step>;           // [m, 4·inner / STEP]
@group(0) @binding(3) var<storage, read> bias: array<f32>;         // [bias_rows, n], absent if 0
@group(0) @binding(4) var<storage, read> residual: array<f32>;     // [residual_rows, n], absent if 0
@group(0) @binding(5) var<storage, read_write> y: array<f32>;      // [m, n]

const WG = 64u;
const ACT = NONE;  // f, as in lib/function.wgsl
const PARTS = 4u / STEP;  // of a block
const BACKWARD = false;

var<workgroup> partial: array<vec4<f32>, WG>;

//!tile 1 4
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg);
    let row = group % p.m;
    let col = group / p.m;
    let last = (p.n + 3u) / 4u - 1u;
    let steps = p.inner * PARTS;

    var sum = vec4<f32>(0.0);
    for (var i = lane; i < steps; i += WG) {
        var v = x[row * steps + i];
        if BACKWARD {
            let scales = block_at(p.first + i / PARTS, p.depth - 1u, p.blocks, p.depth);
            v = scale_step(v, scales, i % PARTS);
            sum = add_step(sum, v, columns_w(block_at(p.first + i / PARTS, min(col, last), p.blocks, p.depth), i % PARTS));
        } else {
            sum = add_step(sum, v, rows_w(block_at(p.first + min(col, last), i / PARTS, p.blocks, p.depth), i % PARTS));
        }
    }
    partial[lane] = sum;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width = width / 2u) {
        if lane < width {
            partial[lane] += partial[lane + width];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        finish(row, col, partial[0]);
    }
}

// How kernels make products in tiles, for a GPU: a workgroup makes TILE rows × TILE columns, an invocation eight of each.
// DEPTH terms of the sums at a time pass through workgroup memory. With these tiles an NVIDIA H100 made plain products of
// the shapes of CLIP's towers fastest. wgpu clamps every index that is no literal: below, that is the last one only.
const SIDE = 16u;  // vec4s of rows, and of columns
const HALF = SIDE / 2u;
const TILE = 4u * SIDE;
const WG = HALF * HALF;
const LOADS = DEPTH * SIDE / WG;  // vec4s of each operand that an invocation loads

// Columns of the left operand and rows of the right: [term][vec4]. The last vec4 is not used: without it invocations that
// store neighbouring terms would meet in one bank.
var<workgroup> part_left: array<array<vec4<f32>, SIDE + 1u>, DEPTH>;
var<workgroup> part_right: array<array<vec4<f32>, SIDE + 1u>, DEPTH>;

// add_part adds the terms in workgroup memory to an invocation's sums, [row][vec4 of columns]. Its rows are those of
// vec4s number up and up + HALF, its columns those of number across and across + HALF.
fn add_part(sum: ptr<function, array<array<vec4<f32>, 2>, 8>>, up: u32, across: u32) {
    for (var d = 0u; d < DEPTH; d++) {  //!unroll
        let right0 = part_right[d][across];
        let right1 = part_right[d][HALF + across];
        for (var h = 0u; h < 2u; h++) {  //!unroll
            let left = part_left[d][h * HALF + up];
            for (var c = 0u; c < 4u; c++) {  //!unroll
                (*sum)[4u * h + c][0] = fma(vec4<f32>(left[c]), right0, (*sum)[4u * h + c][0]);
                (*sum)[4u * h + c][1] = fma(vec4<f32>(left[c]), right1, (*sum)[4u * h + c][1]);
            }
        }
    }
}

// How attention makes products of one head: a workgroup makes 4·UPS rows × 4·SIDE columns, an invocation four of each, which
// are UPS and SIDE apart: so neighbouring invocations load, and store, neighbouring elements. SIDE terms of the sums at a
// time pass through workgroup memory. UPS and SIDE are the kernel's.
//!use random
const WG = UPS * SIDE;
const LOADS = SIDE / UPS;  // vec4s of the right operand that an invocation loads
const_assert SIDE % UPS == 0u;

// Rows of the left operand and columns of the right: [term / 4][term % 4][vec4]. The last vec4 is not used: without it
// invocations that store neighbouring terms would meet in one bank.
var<workgroup> part_left: array<array<array<vec4<f32>, UPS + 1u>, 4>, SIDE / 4u>;
var<workgroup> part_right: array<array<array<vec4<f32>, SIDE + 1u>, 4>, SIDE / 4u>;

// apart(i, distance) are the four rows, or columns, of a vec4, of which the first is i.
fn apart(i: u32, distance: u32) -> vec4<u32> {
    return vec4<u32>(i) + vec4<u32>(0u, distance, 2u * distance, 3u * distance);
}

// set_left and set_right store a vec4 of an operand's term, number i of SIDE.
fn set_left(i: u32, up: u32, x: vec4<f32>) { part_left[i / 4u][i % 4u][up] = x; }
fn set_right(i: u32, across: u32, x: vec4<f32>) { part_right[i / 4u][i % 4u][across] = x; }

// add_terms adds the products of the terms in workgroup memory to an invocation's sums, [column][row]. Of these loops the
// outer one is short in any compiler, and wgpu need not clamp the inner one's indices, which are literals.
fn add_terms(sum: mat4x4<f32>, up: u32, across: u32) -> mat4x4<f32> {
    var all = sum;
    for (var i = 0u; i < SIDE / 4u; i++) {
        for (var t = 0u; t < 4u; t++) {  //!unroll
            let left = part_left[i][t][up];
            let right = part_right[i][t][across];
            for (var c = 0u; c < 4u; c++) {  //!unroll
                all[c] = fma(left, vec4<f32>(right[c]), all[c]);
            }
        }
    }
    return all;
}

// max_across(x) = max x, sum_across(x) = Σ x over the invocations that make columns of the same rows. All must call.
fn max_across(x: vec4<f32>, up: u32, across: u32) -> vec4<f32> {
    set_left(across, up, x);
    workgroupBarrier();
    var greatest = x;
    for (var i = 0u; i < SIDE / 4u; i++) {
        for (var t = 0u; t < 4u; t++) {  //!unroll
            greatest = max(greatest, part_left[i][t][up]);
        }
    }
    workgroupBarrier();
    return greatest;
}

fn sum_across(x: vec4<f32>, up: u32, across: u32) -> vec4<f32> {
    set_left(across, up, x);
    workgroupBarrier();
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < SIDE / 4u; i++) {
        for (var t = 0u; t < 4u; t++) {  //!unroll
            sum += part_left[i][t][up];
        }
    }
    workgroupBarrier();
    return sum;
}

// rotated(m) has column c + 1 of m as its column c: a loop that rotates goes through the columns by literal indices.
fn rotated(m: mat4x4<f32>) -> mat4x4<f32> { return mat4x4<f32>(m[1], m[2], m[3], m[0]); }

// kept(x, at) is what dropout.wgsl leaves of four of attention's probabilities, those number at, or of their gradients.
fn kept(x: vec4<f32>, at: vec4<u32>) -> vec4<f32> {
    if DROPOUT {
        let key = vec2<u32>(seed[0], seed[1]);
        let words = vec4<u32>(random_word(key, p.stream, at.x), random_word(key, p.stream, at.y),
            random_word(key, p.stream, at.z), random_word(key, p.stream, at.w));
        return select(vec4<f32>(0.0), p.drop_scale * x, words > vec4<u32>(p.limit));
    }
    return x;
}

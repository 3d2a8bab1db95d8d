// A weight in 8-bit integers (graph.PackedQ8): a block is one vec4 of quadruples, each for one k. The row of blocks
// after a panel's last holds the scales of its n in float32.
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;

// load_w(block)[k][n] is an element of a block, before its scale.
fn load_w(block: u32) -> mat4x4<f32> {
    let a = w[block];
    return mat4x4<f32>(widen(a.x), widen(a.y), widen(a.z), widen(a.w));
}

// widen(q)[n] is byte n of q and, as its fraction, the bytes below it, times 2^24.
fn widen(q: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(q << 24u, q << 16u, q << 8u, q)));
}

// scale_w(block) are the scales of four n, 1 / (127 · 2^24) of the stored ones.
fn scale_w(block: u32) -> vec4<f32> { return 4.6932792e-10 * bitcast<vec4<f32>>(w[block]); }

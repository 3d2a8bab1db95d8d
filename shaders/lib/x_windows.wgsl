// What linear multiplies by its weight: the windows of an image, which a convolution sees, read where they lie.
// A group is four neighbouring channels of one pixel. Groups go through all pixels of the window, then through them again
// with the next four channels. W keeps the order of OIHW, so that what writes it need not know of windows: the
// four columns that a group meets lie TAPS apart, so that TAPS successive groups read TAPS whole blocks of W.
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;  // [batch, height, width, ⌈channels / 4⌉]

const SIDE_H = 3u;  // of a window  //!replace
const SIDE_W = 3u;  //!replace
const TAPS = SIDE_H * SIDE_W;
const_assert !BACKWARD;  // unfold_grad makes what x's gradient needs

// A Row is where a window's first pixel lies: in x, and down and across the image. A Group is what left adds to that for
// group i. Above or left of the image the numbers wrap around to great ones.
alias Row = vec3<u32>;
alias Group = vec3<u32>;

// row_at(row) is a window of x. Rows past the end are the last one.
fn row_at(row: u32) -> Row {
    let cell = min(row, p.m - 1u);
    let down = cell / p.cols % p.rows * p.stride - p.pad;
    let across = cell % p.cols * p.stride - p.pad;
    let image = cell / (p.cols * p.rows) * p.height;
    return vec3<u32>(((image + down) * p.width + across) * ((p.channels + 3u) / 4u), down, across);
}

fn group_at(i: u32) -> Group {
    let down = i % TAPS / SIDE_W;
    let across = i % SIDE_W;  // which divides TAPS
    return vec3<u32>((down * p.width + across) * ((p.channels + 3u) / 4u) + i / TAPS, down, across);
}

// left(row, group) are the four numbers of a row's group, 0 outside the image.
fn left(row: Row, group: Group) -> vec4<f32> {
    let at = row + group;
    if at.y < p.height && at.z < p.width {
        return x[at.x];
    }
    return vec4<f32>(0.0);
}

// factors(col, i)[j] takes number j of x's group i to the four of y's group col.
fn factors(col: u32, i: u32) -> mat4x4<f32> {
    let k = 4u * i - 3u * (i % TAPS);
    return mat4x4<f32>(column(col, k), column(col, k + TAPS), column(col, k + 2u * TAPS), column(col, k + 3u * TAPS));
}

// factor(col, i, j) is factors(col, i)[j].
fn factor(col: u32, i: u32, j: u32) -> vec4<f32> { return column(col, 4u * i - 3u * (i % TAPS) + j * TAPS); }

// column(col, k) are four rows of W's column k, or of its last one where the padding of x, zeros, meets none.
fn column(col: u32, k: u32) -> vec4<f32> {
    let in_w = min(k, p.channels * TAPS - 1u);
    return row_w(block_at(p.first + col, in_w / 4u, p.blocks, p.depth), in_w % 4u);
}

// What the kernels of linear share: the weight's layout (package packing) and what becomes of a sum.
// x comes in groups of four along what is summed over, y in groups of four columns. W is [N, K]. Forward, the columns
// of y are W's rows from 4·first on, and the sum is over W's columns. BACKWARD, x is dy and y is dx: the columns of y
// are W's columns, and the sum is over W's rows from 4·first on.
//!use weight
//!use packed
//!use function
struct Params {
    m: u32,      // rows of x and y
    n: u32,      // columns of y
    inner: u32,  // groups of four in a row of x
    blocks: u32, depth: u32, first: u32,  // of W: blocks along N, rows of blocks in a panel, the first block along N
    bias_rows: u32,      // 2 where a row of scales follows the bias, 0 without either
    residual_rows: u32,  // which repeat, 0 without a residual; BACKWARD, what f was applied to
    after: u32,          // 1 where f comes after the residual
    // Of the image whose windows [rows, cols] are the rows of x; 0 where x is no image.
    height: u32, width: u32, channels: u32, rows: u32, cols: u32, stride: u32, pad: u32
}

// finish stores y's group col of a row, which may lie past the end.
fn finish(row: u32, col: u32, sum: vec4<f32>) {
    if row >= p.m || 4u * col >= p.n {
        return;
    }
    var v = sum;
    if !BACKWARD {
        v = sum * scale_w(block_at(p.first + col, p.depth - 1u, p.blocks, p.depth));
    }
    for (var j = 0u; j < 4u; j++) {
        let n = 4u * col + j;
        if n < p.n {
            var result = v[j];
            if p.bias_rows == 2u {
                result *= bias[p.n + n];
            }
            if p.bias_rows != 0u {
                result += bias[4u * p.first + n];
            }
            var other = 0.0;
            if p.residual_rows != 0u {
                other = residual[row % p.residual_rows * p.n + n];
            }
            if BACKWARD {
                if p.residual_rows != 0u {
                    result *= slope(ACT, other);
                }
            } else {
                result = apply(ACT, result + select(0.0, other, p.after != 0u)) + select(other, 0.0, p.after != 0u);
            }
            y[row * p.n + n] = result;
        }
    }
}

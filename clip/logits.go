package clip

import (
	"context"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// maxTexts bounds the texts that one program makes logits of, so that any number
// of labels fits the device.
const maxTexts = 4096

// Similarity returns the logits, logit scale and bias included, of unit features of
// images [n, embed_dim] or [n, tokens, embed_dim] and of texts [m, embed_dim]: [n, m] or
// [n, tokens, m]. It runs programs for 1, 2, 4 … texts, filled up with zeros, so that
// another number of labels seldom compiles another program.
func (m *Model) Similarity(ctx context.Context, imageFeatures, textFeatures Array) (Array, error) {
	width := m.Config().EmbedDim
	if err := checkFeatures("image features", imageFeatures, width, 3); err != nil {
		return Array{}, err
	}
	if err := checkFeatures("text features", textFeatures, width, 2); err != nil {
		return Array{}, err
	}
	texts := textFeatures.Shape[0]
	logits := Array{Shape: slices.Clone(imageFeatures.Shape)}
	logits.Shape[len(logits.Shape)-1] = texts
	if logits.Data = make([]float32, graph.Shape(logits.Shape).Elems()); len(logits.Data) == 0 {
		return logits, nil
	}
	for lo := 0; lo < texts; lo += maxTexts {
		hi := min(lo+maxTexts, texts)
		part, err := m.partOfLogits(ctx, imageFeatures, textFeatures.Data[lo*width:hi*width])
		if err != nil {
			return Array{}, err
		}
		columns := part.Shape[len(part.Shape)-1]
		for row := range len(part.Data) / columns {
			copy(logits.Data[row*texts+lo:row*texts+hi], part.Data[row*columns:])
		}
	}
	return logits, m.finiteLogits(ctx, logits, imageFeatures, textFeatures)
}

// partOfLogits are the logits of up to maxTexts texts, and of zeros up to the
// next power of two.
func (m *Model) partOfLogits(ctx context.Context, imageFeatures Array, textFeatures []float32) (Array, error) {
	width := m.Config().EmbedDim
	columns := 1
	for columns*width < len(textFeatures) {
		columns *= 2
	}
	textFeatures = append(slices.Clip(textFeatures), make([]float32, columns*width-len(textFeatures))...)
	images := imageFeatures.Shape[0]
	item := len(imageFeatures.Data) / images
	tokens := imageFeatures.Shape[1 : len(imageFeatures.Shape)-1]
	outs, err := m.engine.Run(ctx, images, engine.Task{
		Key: fmt.Sprintf("logits of %d texts, tokens %v", columns, tokens),
		Record: func(g *graph.Graph, batch int) map[string]graph.Tensor {
			x := g.Input("image_features", graph.Shape{batch * item / width, width}, graph.F32)
			y := g.Input("text_features", graph.Shape{columns, width}, graph.F32)
			logits := g.Reshape(m.logits(g, x, y), slices.Concat([]int{batch}, tokens, []int{columns})...)
			return map[string]graph.Tensor{"logits": logits}
		},
		Feed: func(lo, hi int) map[string]any {
			return map[string]any{
				"image_features": imageFeatures.Data[lo*item : hi*item],
				"text_features":  textFeatures,
			}
		},
	})
	if err != nil {
		return Array{}, err
	}
	return Array(outs["logits"]), nil
}

// checkFeatures wants features [n, width] or, with up to three axes, [n, tokens,
// width] of a tower that does not pool.
func checkFeatures(name string, t Array, width, axes int) error {
	last := len(t.Shape) - 1
	if last < 1 || last >= axes || t.Shape[last] != width || last == 2 && (t.Shape[1] < 1 || t.Shape[1] > max(len(t.Data), 1)) {
		want := fmt.Sprintf("[n %d]", width)
		if axes == 3 {
			want += fmt.Sprintf(" or [n tokens %d]", width)
		}
		return fmt.Errorf("%w: logits need %s of shape %s, have %v", ErrInput, name, want, t.Shape)
	}
	return check.Rows(name, t.Shape, len(t.Data), graph.Shape(t.Shape[1:]).Elems())
}

// logits is get_logits of open_clip's model.py after the encoders.
func (m *Model) logits(g *graph.Graph, image, text graph.Tensor) graph.Tensor {
	scale := ops.Map(g, g.Reshape(g.Param(m.towers.LogitScale), 1), ops.Exp)
	y := ops.MatMul(g, ops.MulBroadcast(g, image, scale, 1), text, false, true)
	if m.towers.LogitBias != nil {
		y = ops.AddBroadcast(g, y, g.Reshape(g.Param(m.towers.LogitBias), 1), 1)
	}
	return y
}

// GetLogits returns scaled similarities of what images consist of (see ImageInputs) and
// rows of token ids: [images, texts], or [images, tokens, texts] where the image tower does
// not pool, and the same with its axes reversed. For a text tower that does not pool, and
// for inputs that the image tower does not take, the error is ErrInput.
func (m *Model) GetLogits(ctx context.Context, images map[string]Array, texts [][]int32) (imageLogits, textLogits Array, err error) {
	x, err := m.imageFeatures(ctx, images)
	if err != nil {
		return Array{}, Array{}, err
	}
	y, err := m.EncodeText(ctx, texts, true)
	if err != nil {
		return Array{}, Array{}, err
	}
	if imageLogits, err = m.Similarity(ctx, x, y); err != nil {
		return Array{}, Array{}, err
	}
	return imageLogits, transpose(imageLogits), nil
}

// transpose reverses the axes, as torch's T does.
func transpose(t Array) Array {
	n, last := t.Shape[0], t.Shape[len(t.Shape)-1]
	shape := slices.Clone(t.Shape)
	slices.Reverse(shape)
	y := Array{shape, make([]float32, len(t.Data))}
	tokens := graph.Shape(shape[1 : len(shape)-1]).Elems()
	for i, v := range t.Data {
		item, token, j := i/(tokens*last), i/last%tokens, i%last
		y.Data[(j*tokens+token)*n+item] = v
	}
	return y
}

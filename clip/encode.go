package clip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// EncodeImage maps images [n, 3, height, width], preprocessed, to features
// [n, embed_dim], or [n, tokens, embed_dim] where the tower does not pool;
// normalize makes them unit vectors. NaN or infinities in features or logits are a
// *NotFiniteError, here and in all other methods but Trace.
func (m *Model) EncodeImage(ctx context.Context, images Array, normalize bool) (Array, error) {
	outs, err := m.EncodeImageOutputs(ctx, ImageInputs(images), normalize, towers.Features)
	return outs[towers.Features], err
}

// imageFeatures are the unit features of what images consist of.
func (m *Model) imageFeatures(ctx context.Context, images map[string]Array) (Array, error) {
	outs, err := m.EncodeImageOutputs(ctx, images, true, towers.Features)
	return outs[towers.Features], err
}

// EncodeImageOutputs maps what images consist of, by name, to the chosen outputs of the
// image tower, or all. ImageInputs makes that of images of one size. The output
// "features" is what EncodeImage returns. Of open_clip's own vision transformers "tokens"
// [n, tokens, width] is there where vision_cfg says output_tokens. Names that the tower
// lacks give ErrInput.
func (m *Model) EncodeImageOutputs(ctx context.Context, inputs map[string]Array, normalize bool, outputs ...string) (map[string]Array, error) {
	b, err := m.images(inputs)
	if err != nil {
		return nil, err
	}
	outs, err := m.encode(ctx, encoding("image", b, normalize, m.towers.RecordImages, outputs), b)
	if err != nil {
		return nil, err
	}
	return outs, m.finiteOutputs(ctx, "image", outs, m.isImage, slices.Collect(maps.Values(inputs))...)
}

// ImageInputs are the inputs, by name, of towers that take images of one size: "image" is
// images [n, 3, height, width], preprocessed.
func ImageInputs(images Array) map[string]Array { return map[string]Array{towers.Image: images} }

// images checks what images consist of.
func (m *Model) images(inputs map[string]Array) (towers.Batch, error) {
	arrays := make(map[string]towers.Array, len(inputs))
	for name, x := range inputs {
		arrays[name] = towers.Array(x)
	}
	return m.towers.Visual.Images(arrays)
}

// EncodeText maps n rows of token ids, all of one length, to features [n, embed_dim],
// or [n, tokens, embed_dim] where the tower does not pool; normalize makes them unit
// vectors. Rows that do not fit the model give ErrInput.
func (m *Model) EncodeText(ctx context.Context, texts [][]int32, normalize bool) (Array, error) {
	outs, err := m.EncodeTextOutputs(ctx, texts, normalize, towers.Features)
	return outs[towers.Features], err
}

// EncodeTextOutputs maps rows of token ids, as EncodeText takes them, to the chosen
// outputs of the text tower, or all: "features" is what EncodeText returns, and "tokens"
// [n, tokens, width] is there where text_cfg says output_tokens. Names that the tower
// lacks give ErrInput.
func (m *Model) EncodeTextOutputs(ctx context.Context, texts [][]int32, normalize bool, outputs ...string) (map[string]Array, error) {
	b, err := m.towers.Texts(texts)
	if err != nil {
		return nil, err
	}
	outs, err := m.encode(ctx, encoding("text", b, normalize, m.towers.RecordTexts, outputs), b)
	if err != nil {
		return nil, err
	}
	return outs, m.finiteOutputs(ctx, "text", outs, m.isText)
}

// encode runs a tower for the items of b. Without items the outputs have their shapes
// nevertheless.
func (m *Model) encode(ctx context.Context, t engine.Task, b towers.Batch) (map[string]Array, error) {
	outs := map[string]Array{}
	if b.Items == 0 {
		g := graph.New()
		recorded := t.Record(g, 1)
		if err := g.Err(); err != nil {
			return nil, err
		}
		for name, x := range recorded {
			shape := slices.Clone([]int(x.Shape()))
			shape[0] = 0
			outs[name] = Array{Shape: shape}
		}
		return outs, nil
	}
	values, err := m.engine.Run(ctx, b.Items, t)
	for name, x := range values {
		outs[name] = Array(x)
	}
	return outs, err
}

// recorder records a tower.
type recorder func(g *graph.Graph, batch, length int) towers.Outputs

// encoding returns the task that computes the chosen outputs of a tower, or all, for the
// items of b; with normalize its features are made unit vectors.
func encoding(tower string, b towers.Batch, normalize bool, record recorder, chosen []string) engine.Task {
	return engine.Task{
		Key: fmt.Sprintf("%s %q length=%d normalize=%t", tower, chosen, b.Length, normalize),
		Record: func(g *graph.Graph, batch int) map[string]graph.Tensor {
			all := record(g, batch, b.Length)
			if normalize {
				all[towers.Features] = towers.Unit(g, all[towers.Features])
			}
			if len(chosen) == 0 {
				return all
			}
			outs := towers.Outputs{}
			for _, name := range chosen {
				x, ok := all[name]
				if !ok {
					g.Fail("%w: the %s tower has no output %q, but %q", ErrInput, tower, name, slices.Sorted(maps.Keys(all)))
				}
				outs[name] = x
			}
			return outs
		},
		Feed: b.Feed,
	}
}

// EncodeTexts tokenizes strings and returns their unit features. Where one string
// cannot be tokenized, the error is a *tokenizer.TextError with its index.
func (m *Model) EncodeTexts(ctx context.Context, texts []string) (Array, error) {
	if text := m.Config().TextCfg; m.Tokenizer() == nil {
		return Array{}, fmt.Errorf("%w; give its token ids to EncodeText", text.NoTokenizer())
	}
	rows, err := await.Do(ctx, func() ([][]int32, error) { return m.tokenize(ctx, texts) }, nil)
	if err != nil {
		return Array{}, err
	}
	return m.EncodeText(ctx, rows, true)
}

// tokenize makes rows of the model's context length. It hears ctx after every part
// of the texts.
func (m *Model) tokenize(ctx context.Context, texts []string) ([][]int32, error) {
	const part = 256
	rows := make([][]int32, 0, len(texts))
	for len(rows) < len(texts) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more, err := m.Tokenizer().Tokenize(texts[len(rows):min(len(rows)+part, len(texts))], m.Config().TextCfg.ContextLength)
		var one *tokenizer.TextError
		if errors.As(err, &one) {
			one.Index += len(rows)
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// Programs lowers the towers for a batch without loading them: what the device
// would replay for EncodeImage and EncodeText. Where one of them fails the other
// is there nevertheless.
func (m *Model) Programs(batch int) (image, text *graph.Program, err error) {
	return m.towers.Programs(batch, m.engine.Prepare)
}

// CaptionProgram lowers what the device would replay for the next token of each of beams
// captions of images; nil of a model that writes none, or that reads whole texts again for
// every token.
func (m *Model) CaptionProgram(images, beams int) (*graph.Program, error) {
	return m.towers.CaptionProgram(images, beams, m.engine.Prepare)
}

// Tune measures the kernels that the towers can choose among for batches, so that
// Save on the result makes later runs take the fastest. progress, where given, is
// told after each run how many are done, how many there are at most and, once it is known,
// how long the others take. Runs are of single layers.
func (m *Model) Tune(ctx context.Context, batches []int, progress func(done, total int, left time.Duration)) (*gpu.Tuning, error) {
	c, most := m.Config(), slices.Max(append([]int{1}, batches...))
	images := m.towers.Visual.Example(most)
	texts, err := m.towers.Texts(slices.Repeat([][]int32{make([]int32, c.TextCfg.ContextLength)}, most))
	if err != nil {
		return nil, err
	}
	features := []string{towers.Features}
	return m.engine.Tune(ctx, batches, []engine.Task{
		encoding("image", images, true, m.towers.RecordImages, features), encoding("text", texts, true, m.towers.RecordTexts, features),
	}, progress)
}

// Record appends both towers to g for batch pairs of an image and a text, to be trained.
// Of the outputs, "image_features" and "text_features" are unit vectors [batch,
// embed_dim]. They act as Train, Eval and SetGradCheckpointing say. Feed gives the lengths
// and the values of the inputs that it declares.
func (m *Model) Record(g *graph.Graph, batch int, l towers.Lengths) towers.Outputs {
	m.engine.Prepare(g)
	return m.towers.Record(g, batch, l)
}

// Lengths are those of a batch of images and texts as most are: texts of the whole context.
func (m *Model) Lengths() towers.Lengths { return m.towers.Lengths() }

// Feed checks pairs of an image and a text, images by what they consist of as
// EncodeImageOutputs takes it, and gives the inputs of a graph that Record made for them.
func (m *Model) Feed(images map[string]Array, texts [][]int32) (map[string]any, towers.Lengths, error) {
	b, l, err := m.pairs(images, texts)
	if err != nil {
		return nil, l, err
	}
	return b.Feed(0, b.Items), l, nil
}

// pairs checks pairs of an image and a text.
func (m *Model) pairs(images map[string]Array, texts [][]int32) (b towers.Batch, l towers.Lengths, err error) {
	x, err := m.images(images)
	if err != nil {
		return b, l, err
	}
	y, err := m.towers.Texts(texts)
	if err != nil {
		return b, l, err
	}
	if x.Items != y.Items || y.Items == 0 {
		return b, l, fmt.Errorf("%w: %d images and %d texts, want as many of each and at least one", ErrInput, x.Items, y.Items)
	}
	return x.With(y), towers.Lengths{Image: x.Length, Text: y.Length}, nil
}

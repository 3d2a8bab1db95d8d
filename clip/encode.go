package clip

import (
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// normalizeEps is the least norm that torch's F.normalize divides by, so that a
// zero vector stays zero.
const normalizeEps = 1e-12

func (e *engine) EncodeImage(ctx context.Context, images Tensor, normalize bool) (Tensor, error) {
	if err := e.checkImages(images); err != nil {
		return Tensor{}, err
	}
	outs, err := e.run(ctx, images.Shape[0], task{
		key: fmt.Sprintf("image normalize=%t", normalize),
		build: func(g *graph.Graph, batch int) []graph.Tensor {
			return []graph.Tensor{unit(g, e.imageTower(g, batch), normalize)}
		},
		feed: e.feedImages(images),
	})
	if err != nil {
		return Tensor{}, err
	}
	if len(outs) == 0 {
		return e.noFeatures(), nil
	}
	return outs[0], e.finiteImages(outs[0], images)
}

func (e *engine) EncodeText(ctx context.Context, texts [][]int32, normalize bool) (Tensor, error) {
	if err := e.checkTexts(texts); err != nil {
		return Tensor{}, err
	}
	if len(texts) == 0 {
		return e.noFeatures(), nil
	}
	length := len(texts[0])
	outs, err := e.run(ctx, len(texts), task{
		key: fmt.Sprintf("text length=%d normalize=%t", length, normalize),
		build: func(g *graph.Graph, batch int) []graph.Tensor {
			return []graph.Tensor{unit(g, e.textTower(g, e.text.inputs(g, batch, length)), normalize)}
		},
		feed: e.feedTexts(texts),
	})
	if err != nil {
		return Tensor{}, err
	}
	return outs[0], e.finiteTexts(outs[0])
}

// noFeatures is what no items give: features [0, embed_dim].
func (e *engine) noFeatures() Tensor { return Tensor{Shape: []int{0, e.cfg.EmbedDim}} }

func unit(g *graph.Graph, x graph.Tensor, normalize bool) graph.Tensor {
	if !normalize {
		return x
	}
	return ops.L2Normalize(g, x, normalizeEps)
}

func (e *engine) imageTower(g *graph.Graph, batch int) graph.Tensor {
	defer g.Scope("visual")()
	return e.visual.forward(g, e.imageInput(g, batch))
}

func (e *engine) imageInput(g *graph.Graph, batch int) graph.Tensor {
	s := e.cfg.VisionCfg.ImageSize
	return g.Input("image", graph.Shape{batch, 3, s[0], s[1]}, graph.F32)
}

func (e *engine) textTower(g *graph.Graph, in textInputs) graph.Tensor {
	defer g.Scope(e.textScope())()
	return e.text.forward(g, in)
}

// textScope is the prefix of the text tower's names.
func (e *engine) textScope() string {
	if e.cfg.CustomText {
		return "text"
	}
	return ""
}

func (e *engine) feedImages(images Tensor) func(lo, hi int) map[string]any {
	item := len(images.Data) / max(1, images.Shape[0])
	return func(lo, hi int) map[string]any {
		return map[string]any{"image": images.Data[lo*item : hi*item]}
	}
}

func (e *engine) feedTexts(texts [][]int32) func(lo, hi int) map[string]any {
	return func(lo, hi int) map[string]any { return e.text.feed(texts[lo:hi]) }
}

func (e *engine) checkImages(images Tensor) error {
	s := e.cfg.VisionCfg.ImageSize
	if len(images.Shape) != 4 || images.Shape[1] != 3 || images.Shape[2] != s[0] || images.Shape[3] != s[1] {
		return fmt.Errorf("%w: images of shape %v, want [n 3 %d %d]", ErrInput, images.Shape, s[0], s[1])
	}
	return checkRows("images", images, 3*s[0]*s[1])
}

func (e *engine) checkTexts(texts [][]int32) error { return e.text.check(texts, !e.cfg.CustomText) }

// checkRows compares t's data with its first dimension. It divides, because the
// product of a shape that makes no sense may overflow.
func checkRows(name string, t Tensor, row int) error {
	if n := t.Shape[0]; n < 0 || len(t.Data)%row != 0 || len(t.Data)/row != n {
		return fmt.Errorf("%w: %s of shape %v with %d elements, want %d for each of the %d", ErrInput, name, t.Shape, len(t.Data), row, n)
	}
	return nil
}

func (e *engine) EncodeImages(ctx context.Context, images []image.Image) (Tensor, error) {
	x, err := await.Do(ctx, func() (Tensor, error) { return e.preprocess(ctx, images) }, nil)
	if err != nil {
		return Tensor{}, err
	}
	return e.EncodeImage(ctx, x, true)
}

// preprocess makes images [n, 3, height, width] for the tower. It hears ctx
// between two images.
func (e *engine) preprocess(ctx context.Context, images []image.Image) (Tensor, error) {
	s := e.cfg.VisionCfg.ImageSize
	item := 3 * s[0] * s[1]
	x := Tensor{Shape: []int{len(images), 3, s[0], s[1]}, Data: make([]float32, len(images)*item)}
	for i, img := range images {
		if err := ctx.Err(); err != nil {
			return Tensor{}, err
		}
		if err := e.transform.ApplyInto(x.Data[i*item:(i+1)*item], preprocess.FromImage(img)); err != nil {
			return Tensor{}, fmt.Errorf("%w: image %d: %w", ErrInput, i, err)
		}
	}
	return x, nil
}

func (e *engine) EncodeTexts(ctx context.Context, texts []string) (Tensor, error) {
	if e.tokens == nil {
		return Tensor{}, fmt.Errorf("%w; give its token ids to EncodeText", e.cfg.TextCfg.noTokenizer())
	}
	rows, err := await.Do(ctx, func() ([][]int32, error) { return e.tokenize(ctx, texts) }, nil)
	if err != nil {
		return Tensor{}, err
	}
	return e.EncodeText(ctx, rows, true)
}

// tokenize makes rows of the model's context length. It hears ctx after every part
// of the texts.
func (e *engine) tokenize(ctx context.Context, texts []string) ([][]int32, error) {
	const part = 256
	rows := make([][]int32, 0, len(texts))
	for len(rows) < len(texts) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more, err := e.tokens.Tokenize(texts[len(rows):min(len(rows)+part, len(texts))], e.text.ContextLength)
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

// Output is what open_clip's forward returns, as a tuple or a dict.
type Output struct {
	ImageFeatures *Tensor // unit vectors; nil without images
	TextFeatures  *Tensor // unit vectors; nil without texts
	LogitScale    float32
	LogitBias     *float32 // nil when the model has none
}

// Tuple is open_clip's default form: image features, text features, logit
// scale and, where the model has one, logit bias; absent ones are nil.
func (o *Output) Tuple() []any {
	t := []any{o.ImageFeatures, o.TextFeatures, o.LogitScale}
	if o.LogitBias != nil {
		t = append(t, *o.LogitBias)
	}
	return t
}

// Dict is open_clip's form with output_dict.
func (o *Output) Dict() map[string]any {
	d := map[string]any{"image_features": o.ImageFeatures, "text_features": o.TextFeatures, "logit_scale": o.LogitScale}
	if o.LogitBias != nil {
		d["logit_bias"] = *o.LogitBias
	}
	return d
}

func (e *engine) Forward(ctx context.Context, images *Tensor, texts [][]int32) (*Output, error) {
	o := &Output{LogitScale: e.LogitScale()}
	if b, ok := e.LogitBias(); ok {
		o.LogitBias = &b
	}
	if images != nil {
		x, err := e.EncodeImage(ctx, *images, true)
		if err != nil {
			return nil, err
		}
		o.ImageFeatures = &x
	}
	if texts != nil {
		y, err := e.EncodeText(ctx, texts, true)
		if err != nil {
			return nil, err
		}
		o.TextFeatures = &y
	}
	return o, nil
}

// Programs lowers the towers for a batch without loading them: what the device
// would replay for EncodeImage and EncodeText. Where one of them fails the other
// is there nevertheless.
func (e *engine) Programs(batch int) (image, text *graph.Program, err error) {
	image, imageErr := e.compile(e.imageTask(), batch, e.tuning.Choose)
	text, textErr := e.compile(e.textTask(e.text.ContextLength), batch, e.tuning.Choose)
	return image, text, firstError(imageErr, textErr)
}

// imageTask is EncodeImage of unit features, but for its images.
func (e *engine) imageTask() task {
	return task{key: "image", build: func(g *graph.Graph, batch int) []graph.Tensor {
		return []graph.Tensor{unit(g, e.imageTower(g, batch), true)}
	}}
}

// textTask is EncodeText of unit features for rows of length tokens, but for them.
func (e *engine) textTask(length int) task {
	return task{key: "text", build: func(g *graph.Graph, batch int) []graph.Tensor {
		return []graph.Tensor{unit(g, e.textTower(g, e.text.inputs(g, batch, length)), true)}
	}}
}

// Record appends both towers to g for batch pairs of an image and a text of
// length tokens, and returns their unit features [batch, embed_dim]. Feed gives
// the values of the inputs it declares.
func (e *engine) Record(g *graph.Graph, batch, length int) (imageFeatures, textFeatures graph.Tensor) {
	g.Variants, g.Target = e.tuning.Choose, e.dev.Target()
	image := unit(g, e.imageTower(g, batch), true)
	return image, unit(g, e.textTower(g, e.text.inputs(g, batch, length)), true)
}

// Feed checks pairs and gives the inputs of a graph that Record made for them.
func (e *engine) Feed(images Tensor, texts [][]int32) (map[string]any, error) {
	if err := firstError(e.checkImages(images), e.checkTexts(texts)); err != nil {
		return nil, err
	}
	if images.Shape[0] != len(texts) || len(texts) == 0 {
		return nil, fmt.Errorf("%w: %d images and %d texts, want as many of each and at least one", ErrInput, images.Shape[0], len(texts))
	}
	feed := e.text.feed(texts)
	feed["image"] = images.Data
	return feed, nil
}

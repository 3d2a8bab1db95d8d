package clip

import (
	"context"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Indices chooses transformer blocks. Nil takes all.
type Indices interface {
	// indices returns, in ascending order and without duplicates, which of n blocks.
	indices(n int) ([]int, error)
}

// LastN takes the last N blocks, N between 1 and their number.
type LastN int

// Blocks takes the listed blocks; negative ones count from the end. They come
// back in the model's order, each once.
type Blocks []int

func (l LastN) indices(n int) ([]int, error) {
	if l <= 0 || int(l) > n {
		return nil, fmt.Errorf("%w: last-n (%d) is out of range (1 to %d)", ErrInput, int(l), n)
	}
	return rangeOf(n-int(l), n), nil
}

func (b Blocks) indices(n int) ([]int, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: the list of blocks is empty", ErrInput)
	}
	var list []int
	for _, i := range b {
		at := i
		if i < 0 {
			at += n
		}
		if at < 0 || at >= n {
			return nil, fmt.Errorf("%w: feature index %d is out of range (%d to %d)", ErrInput, i, -n, n-1)
		}
		list = append(list, at)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func rangeOf(lo, hi int) []int {
	list := make([]int, 0, hi-lo)
	for i := lo; i < hi; i++ {
		list = append(list, i)
	}
	return list
}

// IntermediatesOptions are the arguments of open_clip's forward_intermediates.
// The zero value is open_clip's default.
type IntermediatesOptions struct {
	ImageIndices, TextIndices Indices
	StopEarly                 bool   // end at the last chosen block; CLIP ignores it for text
	NoNormalize               bool   // normalize=False: features are not made unit vectors
	NormalizeIntermediates    bool   // apply the tower's final norm to them
	IntermediatesOnly         bool   // no features, and so no logits
	ImageOutputFmt            string // NCHW (default) or NLC
	ImageOutputExtraTokens    bool   // also the class token
	TextOutputFmt             string // NLC (default); CLIP ignores it
	TextOutputExtraTokens     bool   // also the class token of embed_cls
	OutputLogits              bool
	OutputLogitScaleBias      bool
}

// Intermediates is the dict that forward_intermediates returns; nil is absent.
type Intermediates struct {
	ImageIntermediates       []Tensor // [n, width, grid height, grid width], or [n, tokens, width]
	ImageIntermediatesPrefix []Tensor // [n, 1, width]
	ImageFeatures            *Tensor
	TextIntermediates        []Tensor // [n, tokens, width]
	TextIntermediatesSuffix  []Tensor // [n, 1, width]
	TextFeatures             *Tensor
	ImageLogits, TextLogits  *Tensor
	LogitScale, LogitBias    *float32
}

func (e *engine) ForwardIntermediates(ctx context.Context, images *Tensor, texts [][]int32, o IntermediatesOptions) (*Intermediates, error) {
	if o.IntermediatesOnly {
		o.NoNormalize, o.OutputLogits = true, false
	}
	if err := notEmpty(images, texts); err != nil {
		return nil, err
	}
	if o.OutputLogits && (images == nil || texts == nil) {
		return nil, fmt.Errorf("%w: both images and texts are required to compute logits", ErrInput)
	}
	out := &Intermediates{}
	if images != nil {
		if err := e.imageIntermediates(ctx, *images, o, out); err != nil {
			return nil, err
		}
	}
	if texts != nil {
		if err := e.textIntermediates(ctx, texts, o, out); err != nil {
			return nil, err
		}
	}
	if o.OutputLogits {
		logits, err := e.Similarity(ctx, *out.ImageFeatures, *out.TextFeatures)
		if err != nil {
			return nil, err
		}
		t := transpose(logits)
		out.ImageLogits, out.TextLogits = &logits, &t
	}
	if o.OutputLogitScaleBias {
		scale := e.LogitScale()
		out.LogitScale = &scale
		if b, ok := e.LogitBias(); ok {
			out.LogitBias = &b
		}
	}
	return out, nil
}

// notEmpty refuses batches of nothing, whose results would have no shape.
func notEmpty(images *Tensor, texts [][]int32) error {
	if images != nil && len(images.Shape) > 0 && images.Shape[0] == 0 {
		return fmt.Errorf("%w: a batch of no images", ErrInput)
	}
	if texts != nil && len(texts) == 0 {
		return fmt.Errorf("%w: a batch of no texts", ErrInput)
	}
	return nil
}

// selection is which blocks of a tower to run and to return.
func selection(i Indices, n int, stopEarly bool) (taken []int, depth int, err error) {
	if i == nil {
		i = LastN(n)
	}
	taken, err = i.indices(n)
	if err != nil || !stopEarly {
		return taken, n, err
	}
	return taken, taken[len(taken)-1] + 1, nil
}

func (e *engine) imageIntermediates(ctx context.Context, images Tensor, o IntermediatesOptions, out *Intermediates) error {
	format := o.ImageOutputFmt
	if format == "" {
		format = "NCHW"
	}
	if format != "NCHW" && format != "NLC" {
		return fmt.Errorf("%w: image output format %q must be one of NCHW or NLC", ErrInput, format)
	}
	o, err := e.visual.intermediatesOptions(o)
	if err = firstError(err, e.checkImages(images)); err != nil {
		return err
	}
	taken, depth, err := selection(o.ImageIndices, e.visual.depth(), o.StopEarly)
	if err != nil {
		return err
	}
	outs, err := e.run(ctx, images.Shape[0], task{
		key: fmt.Sprintf("image blocks %v of %d norm=%t only=%t unit=%t", taken, depth, o.NormalizeIntermediates, o.IntermediatesOnly, !o.NoNormalize),
		build: func(g *graph.Graph, batch int) []graph.Tensor {
			defer g.Scope("visual")()
			all, head := e.visual.blocks(g, e.imageInput(g, batch), depth, o)
			var spatial, rest []graph.Tensor
			if !o.IntermediatesOnly {
				rest = append(rest, unit(g, head(), !o.NoNormalize))
			}
			for _, i := range taken {
				spatial = append(spatial, all[i].spatial)
				if all[i].prefix.Valid() {
					rest = append(rest, all[i].prefix)
				}
			}
			return append(spatial, rest...)
		},
		feed: e.feedImages(images),
	})
	if err != nil {
		return err
	}
	out.ImageIntermediates, outs = outs[:len(taken)], outs[len(taken):]
	for i, t := range out.ImageIntermediates {
		if format == "NCHW" {
			out.ImageIntermediates[i] = channelsFirst(t)
		} else {
			out.ImageIntermediates[i].Shape = []int{t.Shape[0], t.Shape[1] * t.Shape[2], t.Shape[3]}
		}
	}
	if !o.IntermediatesOnly {
		out.ImageFeatures, outs = &outs[0], outs[1:]
		if err := e.finiteImages(*out.ImageFeatures, images); err != nil {
			return err
		}
	}
	if o.ImageOutputExtraTokens && len(outs) > 0 {
		out.ImageIntermediatesPrefix = outs
	}
	return nil
}

func (e *engine) textIntermediates(ctx context.Context, texts [][]int32, o IntermediatesOptions, out *Intermediates) error {
	if f := o.TextOutputFmt; e.cfg.CustomText && f != "" && f != "NLC" {
		return fmt.Errorf("%w: text output format %q must be NLC", ErrInput, f)
	}
	taken, depth, err := selection(o.TextIndices, len(e.text.Transformer.Resblocks), o.StopEarly && e.cfg.CustomText)
	if err = firstError(err, e.checkTexts(texts)); err != nil {
		return err
	}
	length, cls := len(texts[0]), e.text.ClsEmb != nil
	outs, err := e.run(ctx, len(texts), task{
		key: fmt.Sprintf("text blocks %v of %d length=%d norm=%t only=%t unit=%t", taken, depth, length, o.NormalizeIntermediates, o.IntermediatesOnly, !o.NoNormalize),
		build: func(g *graph.Graph, batch int) []graph.Tensor {
			defer g.Scope(e.textScope())()
			in := e.text.inputs(g, batch, length)
			all := e.text.blocks(g, in, depth)
			var sequence, suffix []graph.Tensor
			for _, i := range taken {
				x := all[i]
				if o.NormalizeIntermediates {
					x = e.text.LnFinal.Forward(g, x)
				}
				if cls {
					s := ops.Split(g, x, 1, length, 1)
					x, suffix = s[0], append(suffix, s[1])
				}
				sequence = append(sequence, x)
			}
			if o.IntermediatesOnly {
				return append(sequence, suffix...)
			}
			return append(append(sequence, suffix...), unit(g, e.text.head(g, in, all), !o.NoNormalize))
		},
		feed: e.feedTexts(texts),
	})
	if err != nil {
		return err
	}
	out.TextIntermediates = outs[:len(taken)]
	if cls && o.TextOutputExtraTokens {
		out.TextIntermediatesSuffix = outs[len(taken) : 2*len(taken)]
	}
	if !o.IntermediatesOnly {
		out.TextFeatures = &outs[len(outs)-1]
		return e.finiteTexts(*out.TextFeatures)
	}
	return nil
}

// channelsFirst turns [n, height, width, channels] into [n, channels, height, width].
func channelsFirst(t Tensor) Tensor {
	n, cells, channels := t.Shape[0], t.Shape[1]*t.Shape[2], t.Shape[3]
	y := Tensor{[]int{n, channels, t.Shape[1], t.Shape[2]}, make([]float32, len(t.Data))}
	for i := range n {
		for c := range cells {
			for w := range channels {
				y.Data[(i*channels+w)*cells+c] = t.Data[(i*cells+c)*channels+w]
			}
		}
	}
	return y
}

// Trace returns the outputs of modules by their open_clip names, as forward
// hooks would see them: "visual.transformer.resblocks.0.attn", "ln_final", and
// "transformer.input" for what enters a stack of blocks. Feature maps, as that of
// "visual.conv1", are [n, channels, height, width]. Names of a tower whose input
// is absent, and of modules that the model lacks, are errors, and so is an
// empty batch.
func (e *engine) Trace(ctx context.Context, images *Tensor, texts [][]int32, modules ...string) (map[string]Tensor, error) {
	if err := notEmpty(images, texts); err != nil {
		return nil, err
	}
	found := map[string]Tensor{}
	if images != nil {
		if err := e.checkImages(*images); err != nil {
			return nil, err
		}
		tower := func(g *graph.Graph, batch int) { e.imageTower(g, batch) }
		if err := e.trace(ctx, "image", images.Shape[0], tower, e.feedImages(*images), modules, found); err != nil {
			return nil, err
		}
	}
	if texts != nil {
		if err := e.checkTexts(texts); err != nil {
			return nil, err
		}
		length := len(texts[0])
		tower := func(g *graph.Graph, batch int) { e.textTower(g, e.text.inputs(g, batch, length)) }
		kind := fmt.Sprintf("text length=%d", length)
		if err := e.trace(ctx, kind, len(texts), tower, e.feedTexts(texts), modules, found); err != nil {
			return nil, err
		}
	}
	for _, name := range modules {
		if _, ok := found[name]; !ok {
			return nil, fmt.Errorf("%w: the model has no module %q for the given inputs", ErrInput, name)
		}
	}
	return found, nil
}

func (e *engine) trace(ctx context.Context, kind string, n int, tower func(*graph.Graph, int), feed func(lo, hi int) map[string]any, modules []string, found map[string]Tensor) error {
	probe := graph.New()
	tower(probe, 1)
	names := slices.DeleteFunc(slices.Clone(modules), func(name string) bool { _, ok := probe.Tapped(name); return !ok })
	if len(names) == 0 {
		return probe.Err()
	}
	outs, err := e.run(ctx, n, task{
		key: fmt.Sprintf("%s trace %q", kind, names),
		build: func(g *graph.Graph, batch int) []graph.Tensor {
			tower(g, batch)
			taps := make([]graph.Tensor, len(names))
			for i, name := range names {
				taps[i], _ = g.Tapped(name)
			}
			return taps
		},
		feed: feed,
	})
	if err != nil {
		return err
	}
	for i, t := range outs {
		if len(t.Shape) == 4 { // feature maps are channels-last on the device
			t = channelsFirst(t)
		}
		found[names[i]] = t
	}
	return nil
}

package clip

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/generation"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Generate writes texts of images, by what they consist of (see ImageInputs), as token ids:
// rows of one length, o.NumReturnSequences of each image (CoCa.generate in open_clip's
// coca_model.py). Rows begin with o.SotID or, where prompts are given, one of each image,
// all of one length, with these. Unlike open_clip's, a model with a Hugging Face text tower
// does it, too, with the ids of its tokenizer where o has none. Warnings tell what of o has
// no effect. A model without a decoder, and prompts that leave no room for a token, give
// ErrInput.
func (m *Model) Generate(ctx context.Context, images map[string]Array, prompts [][]int32, o generation.Options) (texts [][]int32, warnings []string, err error) {
	if err := m.noDecoder(); err != nil {
		return nil, nil, err
	}
	b, err := m.images(images)
	if err != nil {
		return nil, nil, err
	}
	if prompts, warnings, err = m.prepare(&o, b.Items, prompts); err != nil || b.Items == 0 {
		return nil, warnings, err
	}
	outs, err := m.EncodeImageOutputs(ctx, images, false, imageTokens)
	if err != nil {
		return nil, nil, err
	}
	texts, err = m.generateOf(ctx, 0, outs[imageTokens], prompts, &o)
	return texts, warnings, err
}

// imageTokens is the output of the image tower that a decoder reads.
const imageTokens = "tokens"

// generateOf writes texts of images by their tokens, of which the first is number first.
func (m *Model) generateOf(ctx context.Context, first int, tokens Array, prompts [][]int32, o *generation.Options) (texts [][]int32, err error) {
	n, size := len(prompts), 1 // images at a time
	for size*2 <= min(n, maxCaptioned, m.engine.MaxBatch()) {
		size *= 2
	}
	for lo := 0; lo < n; {
		for lo+size > n {
			size /= 2
		}
		item := len(tokens.Data) / n
		part := Array{append([]int{size}, tokens.Shape[1:]...), tokens.Data[lo*item : (lo+size)*item]}
		rows, err := m.generate(ctx, first+lo, part, prompts[lo:lo+size], o)
		if engine.TooLarge(err) && size > 1 {
			size /= 2
			continue
		}
		if err != nil {
			return nil, err
		}
		texts = append(texts, rows...)
		lo += size
	}
	return o.Pad(texts), nil
}

// maxCaptioned is how many images captions are written of at once.
const maxCaptioned = 4

// prepare fills o's ids, checks o and returns prompts for n images.
func (m *Model) prepare(o *generation.Options, n int, prompts [][]int32) ([][]int32, []string, error) {
	m.fillIDs(o)
	vocabulary := min(m.Config().TextCfg.VocabSize, towers.Vocabulary(&m.towers.Config))
	if err := o.Check(vocabulary); err != nil {
		return nil, nil, err
	}
	if most := m.towers.CaptionLength() + 1; o.SeqLen > most {
		return nil, nil, fmt.Errorf("%w: seq_len is %d, and the model writes texts of up to %d tokens", ErrInput, o.SeqLen, most)
	}
	var warnings []string
	if o.Type == generation.BeamSearch && o.NumBeamGroups > 1 {
		warnings = append(warnings, fmt.Sprintf("num_beam_groups is %d, and beam search goes on with 1, as in open_clip", o.NumBeamGroups))
	}
	if prompts == nil {
		prompts = slices.Repeat([][]int32{{*o.SotID}}, n)
	}
	if len(prompts) != n {
		return nil, nil, fmt.Errorf("%w: %d prompts for %d images", ErrInput, len(prompts), n)
	}
	for i, row := range prompts {
		if len(row) == 0 || len(row) >= o.SeqLen {
			return nil, nil, fmt.Errorf("%w: prompt %d has %d tokens, want 1 to %d, so that one of seq_len %d can follow", ErrInput, i, len(row), o.SeqLen-1, o.SeqLen)
		}
		if len(row) != len(prompts[0]) {
			return nil, nil, fmt.Errorf("%w: prompt %d has %d tokens and prompt 0 has %d", ErrInput, i, len(row), len(prompts[0]))
		}
	}
	if _, err := m.towers.Text.Texts([][]int32{slices.Repeat([]int32{*o.SotID}, o.SeqLen-1)}, false); err != nil {
		return nil, nil, fmt.Errorf("seq_len %d: %w", o.SeqLen, err)
	}
	_, err := m.towers.Text.Texts(prompts, false)
	return prompts, warnings, err
}

// The ids that CoCa.generate takes where it is given none.
const (
	cocaPad, cocaSot, cocaEos = 0, 49406, 49407
)

// fillIDs sets the ids that o lacks: those of a Hugging Face tower's tokenizer, else
// open_clip's.
func (m *Model) fillIDs(o *generation.Options) {
	pad, sot, eos := int32(cocaPad), int32(cocaSot), int32(cocaEos)
	if m.Config().TextCfg.HFModelName != nil {
		pad, _ = m.towers.Padding()
		if t := m.Tokenizer(); t != nil {
			sot, eos = t.SOT(), t.EOT()
		}
	}
	for id, of := range map[**int32]*int32{&o.PadID: &pad, &o.SotID: &sot, &o.EosID: &eos} {
		if *id == nil {
			*id = of
		}
	}
}

// generate writes texts of images that go to the device together.
func (m *Model) generate(ctx context.Context, first int, tokens Array, prompts [][]int32, o *generation.Options) ([][]int32, error) {
	if err := m.captioning.Acquire(ctx); err != nil {
		return nil, err
	}
	defer m.captioning.Unlock()
	w := &captionWriter{Model: m, images: tokens, beams: o.Rows(), known: towers.Vocabulary(&m.towers.Config)}
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	next := w.step
	if w.cache == nil || w.plain {
		next = w.reread
	}
	return o.Run(ctx, first, prompts, next)
}

// captionWriter tells what follows texts of some images.
type captionWriter struct {
	*Model
	images Array // their tokens
	beams  int   // texts of each image
	known  int   // token ids that the text tower takes
	cache  *towers.CaptionCache

	owners [][]int32 // of rows and places, the beam that the token was read as
}

// captionKey begins the keys of all tasks of so many captions.
func captionKey(images, beams int) string { return fmt.Sprintf("captions %d×%d: ", images, beams) }

func (w *captionWriter) key(task string) string { return captionKey(w.images.Shape[0], w.beams) + task }

// begin makes the cache ready for other images.
func (w *captionWriter) begin(ctx context.Context) error {
	n := w.images.Shape[0]
	if w.cache = w.cacheFor(); w.cache == nil || w.plain {
		return nil
	}
	_, err := w.engine.Run(ctx, n, engine.Task{
		Key: w.key("of"), Whole: true,
		Record: func(g *graph.Graph, _ int) map[string]graph.Tensor {
			w.towers.RecordContext(g, w.cache)
			return nil
		},
		Feed: func(int, int) map[string]any { return map[string]any{towers.ImageTokens: w.images.Data} },
	})
	return err
}

// cacheFor returns one that fits, of the few that are kept; nil where captions have none.
func (w *captionWriter) cacheFor() *towers.CaptionCache {
	n := w.images.Shape[0]
	fits := func(c *towers.CaptionCache) bool { return c.Images == n && c.Beams == w.beams }
	if i := slices.IndexFunc(w.captions, fits); i >= 0 {
		return w.captions[i]
	}
	if len(w.captions) >= maxCaches {
		old := w.captions[0]
		// An error means that a call which was left still loads a program of it: the next
		// call tries again.
		if w.engine.Drop(captionKey(old.Images, old.Beams), old.States()...) == nil {
			w.captions = slices.Delete(w.captions, 0, 1)
		}
	}
	c := w.towers.NewCaptionCache(n, w.beams, w.images.Shape[1])
	if c != nil {
		w.captions = append(w.captions, c)
	}
	return c
}

// maxCaches is how many caches are kept: those of 1, 2 and 4 images.
const maxCaches = 3

// step is a generation.Next that reads only what is new of rows.
func (w *captionWriter) step(ctx context.Context, rows [][]int32, from []int) ([]float32, error) {
	owners := make([][]int32, len(rows))
	for r := range rows {
		if from != nil {
			owners[r] = slices.Clone(w.owners[from[r]])
		}
		for len(owners[r]) < len(rows[r]) {
			owners[r] = append(owners[r], int32(r%w.beams))
		}
	}
	begin := len(rows[0]) - 1
	if from == nil {
		begin = 0
	}
	w.owners = owners
	var logits []float32
	for at := begin; at < len(rows[0]); at++ {
		outs, err := w.engine.Run(ctx, w.images.Shape[0], engine.Task{
			Key: w.key("step"), Whole: true,
			Record: func(g *graph.Graph, _ int) map[string]graph.Tensor { return w.towers.RecordStep(g, w.cache) },
			Feed:   func(int, int) map[string]any { return w.towers.StepFeed(w.cache, rows, owners, at) },
		})
		if err != nil {
			return nil, err
		}
		logits = outs[towers.Logits].Data
	}
	return w.usable(ctx, logits, len(rows))
}

// reread is a generation.Next that reads all of rows.
func (w *captionWriter) reread(ctx context.Context, rows [][]int32, _ []int) ([]float32, error) {
	at, length := len(rows[0])-1, len(rows[0])
	if padding, ok := w.towers.Padding(); ok { // one program for all lengths
		length = min(w.towers.CaptionLength(), (at/padStep+1)*padStep)
		padded := make([][]int32, len(rows))
		for r, row := range rows {
			padded[r] = append(slices.Clone(row), slices.Repeat([]int32{padding}, length-len(row))...)
		}
		rows = padded
	}
	b, err := w.towers.Text.Texts(rows, false)
	if err != nil {
		return nil, err
	}
	n, keys := w.images.Shape[0], w.images.Shape[1]
	outs, err := w.engine.Run(ctx, n, engine.Task{
		Key: w.key(fmt.Sprintf("of %d tokens", length)), Whole: true,
		Record: func(g *graph.Graph, _ int) map[string]graph.Tensor {
			return w.towers.RecordNext(g, n, w.beams, length, keys)
		},
		Feed: func(int, int) map[string]any {
			feed := b.Feed(0, len(rows))
			name, last := towers.Last(len(rows), length, at)
			feed[name], feed[towers.ImageTokens] = last, w.images.Data
			return feed
		},
	})
	if err != nil {
		return nil, err
	}
	return w.usable(ctx, outs[towers.Logits].Data, len(rows))
}

// padStep is what lengths of texts that are read whole are rounded up to.
const padStep = 16

// usable refuses logits with NaN, and makes ids impossible that the text tower cannot read.
func (w *captionWriter) usable(ctx context.Context, logits []float32, rows int) ([]float32, error) {
	vocabulary := len(logits) / rows
	if err := w.finite(ctx, "logits", Array{[]int{rows, vocabulary}, logits}, func(string) bool { return true }); err != nil {
		return nil, err
	}
	for r := range rows {
		for id := w.known; id < vocabulary; id++ {
			logits[r*vocabulary+id] = float32(math.Inf(-1))
		}
	}
	return logits, nil
}

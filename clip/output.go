package clip

import "context"

// Output is what open_clip's forward returns, as a tuple or a dict.
type Output struct {
	ImageFeatures *Array // unit vectors; nil without images
	TextFeatures  *Array // unit vectors; nil without texts
	LogitScale    float32
	LogitBias     *float32 // nil when the model has none
	// Logits [n, tokens, vocabulary] are what CoCa's decoder says of the token after each.
	// nil without images or texts, and of a model without a decoder.
	Logits *Array
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
	if o.Logits != nil {
		d["logits"] = o.Logits
	}
	return d
}

// Forward encodes what is given, what images consist of (see ImageInputs), rows of token ids
// or both; Output says what it returns. Of a model with a decoder both must be as many.
func (m *Model) Forward(ctx context.Context, images map[string]Array, texts [][]int32) (*Output, error) {
	o := &Output{LogitScale: m.LogitScale()}
	if b, ok := m.LogitBias(); ok {
		o.LogitBias = &b
	}
	if m.towers.Decoder != nil && images != nil && texts != nil {
		return o, m.forwardPairs(ctx, images, texts, o)
	}
	if images != nil {
		x, err := m.imageFeatures(ctx, images)
		if err != nil {
			return nil, err
		}
		o.ImageFeatures = &x
	}
	if texts != nil {
		y, err := m.EncodeText(ctx, texts, true)
		if err != nil {
			return nil, err
		}
		o.TextFeatures = &y
	}
	return o, nil
}

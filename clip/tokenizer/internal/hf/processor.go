package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// template is the special tokens before and after those of a text.
type template struct{ prefix, suffix []int32 }

// around returns t with outer's tokens around it.
func (t template) around(outer template) template {
	return template{slices.Concat(outer.prefix, t.prefix), slices.Concat(t.suffix, outer.suffix)}
}

// parseProcessor reads the post_processor of a tokenizer.json.
func parseProcessor(data json.RawMessage) (template, error) {
	kind, err := kindOf(data)
	if err != nil || kind == "" {
		return template{}, err
	}
	switch kind {
	case "ByteLevel": // changes offsets only
		return template{}, nil
	case "TemplateProcessing":
		return parseTemplate(data)
	case "BertProcessing", "RobertaProcessing":
		var c struct {
			Sep, CLS       tokenID
			TrimOffsets    bool `json:"trim_offsets"`
			AddPrefixSpace bool `json:"add_prefix_space"`
		}
		err := strict(data, &c)
		return template{[]int32{int32(c.CLS)}, []int32{int32(c.Sep)}}, err
	case "Sequence":
		var c struct{ Processors []json.RawMessage }
		if err := strict(data, &c); err != nil {
			return template{}, err
		}
		var t template
		for _, raw := range c.Processors {
			outer, err := parseProcessor(raw)
			if err != nil {
				return t, err
			}
			t = t.around(outer)
		}
		return t, nil
	}
	return template{}, fmt.Errorf("post_processor %q is not supported", kind)
}

// tokenID is a token with its id; in JSON the pair of both.
type tokenID int32

func (t *tokenID) UnmarshalJSON(data []byte) error {
	var token string
	return unmarshalPair(data, &token, (*int32)(t), "a pair of a token and its id")
}

func parseTemplate(data json.RawMessage) (t template, err error) {
	var c struct {
		Single []struct {
			SpecialToken *struct{ ID string }
			Sequence     *struct{ ID string }
		}
		Pair          json.RawMessage
		SpecialTokens map[string]struct {
			ID     string
			IDs    []int32
			Tokens []string
		} `json:"special_tokens"`
	}
	if err = strictjson.Unmarshal(data, &c); err != nil {
		return t, err
	}
	seen := false
	for _, p := range c.Single {
		switch {
		case p.Sequence != nil && p.Sequence.ID == "A" && !seen:
			seen = true
		case p.SpecialToken != nil:
			special, ok := c.SpecialTokens[p.SpecialToken.ID]
			if !ok {
				return t, fmt.Errorf("post_processor: %q is not among special_tokens", p.SpecialToken.ID)
			}
			if seen {
				t.suffix = append(t.suffix, special.IDs...)
			} else {
				t.prefix = append(t.prefix, special.IDs...)
			}
		default:
			return t, errors.New("post_processor: a template without exactly one $A is not supported")
		}
	}
	if !seen {
		return t, errors.New("post_processor: a template without exactly one $A is not supported")
	}
	return t, nil
}

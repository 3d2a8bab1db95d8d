package tokenizer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/hf"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/sentencepiece"
)

// nllbLanguages are the codes that the class adds to the model's pieces, in the
// order of their ids (models/nllb/tokenization_nllb.py).
const nllbLanguages = `
ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn amh_Ethi apc_Arab arb_Arab ars_Arab ary_Arab
arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn ban_Latn bel_Cyrl bem_Latn ben_Beng
bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn
cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn ewe_Latn fao_Latn
pes_Arab fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gla_Latn gle_Latn glg_Latn grn_Latn guj_Gujr hat_Latn
hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn
jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor knc_Arab knc_Latn kaz_Cyrl kbp_Latn kea_Latn
khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn kon_Latn kor_Hang kmr_Latn lao_Laoo lvs_Latn lij_Latn lim_Latn lin_Latn
lit_Latn lmo_Latn ltg_Latn ltz_Latn lua_Latn lug_Latn luo_Latn lus_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Latn
mkd_Cyrl plt_Latn mlt_Latn mni_Beng khk_Cyrl mos_Latn mri_Latn zsm_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva
nso_Latn nus_Latn nya_Latn oci_Latn gaz_Latn ory_Orya pag_Latn pan_Guru pap_Latn pol_Latn por_Latn prs_Arab pbt_Arab
quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Beng scn_Latn shn_Mymr sin_Sinh slk_Latn slv_Latn smo_Latn
sna_Latn snd_Arab som_Latn sot_Latn spa_Latn als_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn szl_Latn
tam_Taml tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi taq_Latn taq_Tfng tpi_Latn tsn_Latn tso_Latn tuk_Latn
tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn war_Latn wol_Latn
xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans zho_Hant zul_Latn`

// loadNllb makes a tokenizer of a sentencepiece model as transformers 4 does for
// NllbTokenizer (convert_slow_tokenizer.py). transformers 5 leaves the languages out
// there, so that no text can be translated or embedded with it.
func (s *specials) loadNllb(file string, m *sentencepiece.Model) (*Tokenizer, error) {
	pieces, charsMap, ok := m.BPE()
	if !ok || len(pieces) < 3 {
		return nil, unusable(file, errors.New("a NllbTokenizer wants a BPE model of at least 3 pieces, or a tokenizer.json"))
	}
	for id, p := range pieces {
		if len(p.Text) > maxPiece {
			return nil, unusable(file, fmt.Errorf("piece %d has %d bytes, at most %d are supported", id, len(p.Text), maxPiece))
		}
	}
	merges := mergesOf(pieces)
	pieces = s.fairseqPieces(pieces)
	vocab := map[string]int{}
	var added []hf.AddedToken
	for id, p := range pieces {
		vocab[p.Text] = id
		if p.Control || p.User {
			added = append(added, hf.AddedToken{ID: int32(id), Content: p.Text, Special: p.Control})
		}
	}
	metaspace := map[string]any{"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true}
	steps := []any{
		map[string]any{"type": "Strip", "strip_left": false, "strip_right": true},
		map[string]any{"type": "Replace", "pattern": map[string]any{"Regex": " {2,}"}, "content": "\u2581"},
	}
	if len(charsMap) > 0 {
		steps = slices.Insert(steps, 0, any(map[string]any{"type": "Precompiled", "precompiled_charsmap": charsMap}))
	}
	return s.fromParts(file, vocab, map[string]any{
		"normalizer":    map[string]any{"type": "Sequence", "normalizers": steps},
		"pre_tokenizer": metaspace,
		"decoder":       metaspace,
		"model":         map[string]any{"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": s.tokens["unk_token"], "fuse_unk": true},
		"added_tokens":  added,
	})
}

// WithLanguage returns a tokenizer of texts in another language, a code such as fra_Latn,
// whose token goes around each text in place of eng_Latn's (src_lang of NLLB's
// documentation). open_clip's HFTokenizer leaves its language without effect: without
// WithLanguage texts are as there. Errors are about tokenizers without languages, and
// codes that are none of the 202 of NLLB-200.
func (t *Tokenizer) WithLanguage(code string) (*Tokenizer, error) {
	if t.language == "" {
		return nil, fmt.Errorf("tokenizer: language %q: the tokenizer has no languages; NLLB's have", code)
	}
	id, ok := t.coder.Find(code)
	if !ok || !slices.Contains(strings.Fields(nllbLanguages), code) {
		return nil, fmt.Errorf("tokenizer: language %q is not one of NLLB's; want a code such as eng_Latn, fra_Latn or zho_Hans", code)
	}
	old, _ := t.coder.Find(t.language)
	other := *t
	for _, ids := range []*[]int32{&other.frame.prefix, &other.frame.suffix} {
		*ids = slices.Clone(*ids)
		if i := slices.Index(*ids, old); i >= 0 {
			(*ids)[i] = id
		}
	}
	other.language = code
	return &other, nil
}

// maxPiece bounds, in bytes, what mergesOf splits at every character. sentencepiece
// makes pieces of at most 16 characters unless told otherwise.
const maxPiece = 256

// mergesOf returns the merges that a sentencepiece model implies: every split of a
// piece into two others, the piece of the highest score first and, for one score,
// the longest left part.
func mergesOf(pieces []sentencepiece.Piece) [][2]string {
	ids := make(map[string]int, len(pieces))
	for id, p := range pieces {
		ids[p.Text] = id
	}
	type split struct {
		left, right   string
		score         float32
		before, after int // length in characters
	}
	var all []split
	for _, p := range pieces {
		first := len(all)
		for i := range p.Text {
			left, right := p.Text[:i], p.Text[i:]
			_, okLeft := ids[left]
			if _, okRight := ids[right]; okLeft && okRight {
				all = append(all, split{left, right, p.Score, utf8.RuneCountInString(left), utf8.RuneCountInString(right)})
			}
		}
		slices.SortFunc(all[first:], func(a, b split) int {
			return cmp.Or(cmp.Compare(ids[a.left], ids[b.left]), cmp.Compare(ids[a.right], ids[b.right]))
		})
	}
	slices.SortStableFunc(all, func(a, b split) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.before, a.before), cmp.Compare(b.after, a.after))
	})
	merges := make([][2]string, len(all))
	for i, m := range all {
		merges[i] = [2]string{m.left, m.right}
	}
	return merges
}

"""Words hidden at random for masked language modelling, anew at every reading (arXiv 1810.04805, section 3.1).

B rows, S tokens of a row, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import TokenizerError
from ...heads import IGNORE_INDEX
from ...text.tokenization_base import TokenizerBase
from ..ranks import BatchPart

CONTINUATION = "##"  # begins the pieces of a word after the first
MASK_SHARE = 0.15  # of the words of a row, as BERT was trained


@dataclass(frozen=True)
class Masking:
    """Chooses tokens to predict and hides most of them.

    Attributes:
        begins_word: (V,) True for pieces that do not continue a word.
        maskable: (V,) True for all but special tokens.
        mask_id: what a hidden token shows.
        share: of the words (or tokens) of a row to predict, at least one where there is one.
        whole_words: a word is chosen with all its pieces; else each piece alone, as the released model was trained.
    """

    begins_word: np.ndarray
    maskable: np.ndarray
    mask_id: int
    share: float = MASK_SHARE
    whole_words: bool = True

    @classmethod
    def for_tokenizer(cls, tokenizer: TokenizerBase, share: float = MASK_SHARE, whole_words: bool = True) -> Masking:
        """The masking of a tokenizer's vocabulary; raises TokenizerError where it has no mask token."""
        if tokenizer.mask_token_id is None:
            raise TokenizerError("masking: wanted a tokenizer with a mask token, got one without. Pass mask_token=.")
        tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        maskable = np.ones(len(tokens), bool)
        maskable[list(tokenizer.all_special_ids)] = False
        begins = np.array([not str(token).startswith(CONTINUATION) for token in tokens])
        return cls(begins, maskable, int(tokenizer.mask_token_id), share, whole_words)

    def __call__(
        self, ids: np.ndarray, rng: np.random.Generator, part: BatchPart | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels (B, S) of rows (B, S): labels are -100 but at the tokens to predict.

        Of those 80 % show the mask, 10 % a random token and 10 % themselves. The same rng gives the same answer;
        the rows are left as they are. Rows that are a part of a batch are masked as in the whole batch.
        """
        first, rows = (0, len(ids)) if part is None else (part.first, part.rows)
        own = slice(first, first + len(ids))
        priority, action = (rng.random((rows, ids.shape[1]))[own] for _ in range(2))
        chosen = self._chosen(ids, priority)
        inputs = ids.copy()
        inputs[chosen & (action < 0.8)] = self.mask_id
        random = chosen & (action >= 0.9)
        words = np.flatnonzero(self.maskable)
        # What is left of the number that chose the action is as random as another one.
        inputs[random] = words[((action[random] - 0.9) * (10 * len(words))).astype(int).clip(0, len(words) - 1)]
        return inputs, np.where(chosen, ids, IGNORE_INDEX).astype(ids.dtype)

    def _chosen(self, ids: np.ndarray, priority: np.ndarray) -> np.ndarray:
        maskable = self.maskable[ids]  # (B, S)
        first = maskable & self.begins_word[ids] if self.whole_words else maskable
        first |= maskable & ~np.pad(maskable, ((0, 0), (1, 0)))[:, :-1]  # a row cut inside a word
        words = first.sum(axis=1)  # (B,)
        wanted = np.minimum(np.maximum(1, np.round(self.share * words)), words)
        priority = np.where(first, priority, np.inf)
        rank = priority.argsort(axis=1).argsort(axis=1)  # of each word's first piece among its row's
        word = np.maximum(np.cumsum(first, axis=1) - 1, 0)  # (B, S) the word of each token
        rows, places = np.nonzero(first)
        selected = np.zeros((len(ids), int(words.max(initial=0)) or 1), bool)
        selected[rows, word[rows, places]] = rank[rows, places] < wanted[rows]
        return maskable & np.take_along_axis(selected, word, axis=1)

"""The keys that ``transformers`` writes into the config of every model, whatever the model is.

In: a config. Out: the same without them; a key that asks for another model is refused.
"""

from __future__ import annotations

from circuitkit.checkpoints.foreign_config import ForeignConfig

TRAINING_KEYS = ("initializer_range", "gradient_checkpointing", "use_bfloat16", "torchscript")
DTYPE_KEYS = ("dtype", "torch_dtype")
BOOKKEEPING_KEYS = (
    "_name_or_path", "architectures", "model_type", "transformers_version", "tokenizer_class",
    "finetuning_task", "problem_type", "id2label", "label2id", "num_labels", "_num_labels",
    "return_dict", "output_hidden_states", "output_attentions", "_attn_implementation",
    "_attn_implementation_autoset", "attn_implementation", "_commit_hash", "use_cache",
    "chunk_size_feed_forward", "is_decoder",
)  # fmt: skip
GENERATION_KEYS = (
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id",
    "task_specific_params", "prefix", "max_length", "min_length", "do_sample", "early_stopping",
    "num_beams", "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p",
    "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
    "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id",
    "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
    "begin_suppress_tokens",
)  # fmt: skip


def drop_transformers_keys(config: ForeignConfig) -> None:
    """Drop what changes no logit.

    Raises:
        CheckpointError: for an encoder, quantised weights, or heads that were taken out.
    """
    config.drop(TRAINING_KEYS, "for training only")
    config.drop(DTYPE_KEYS, "weights are read as the file holds them, and run in float32")
    config.drop(BOOKKEEPING_KEYS, "changes no logit")
    config.drop(GENERATION_KEYS, "for generating text")
    config.only(False, ["is_encoder_decoder", "add_cross_attention", "tie_encoder_decoder"],
                "an encoder beside the decoder")  # fmt: skip
    config.only(None, ["cross_attention_hidden_size"], "an encoder beside the decoder")
    config.only(None, ["quantization_config"], "quantised weights")
    config.only({}, ["pruned_heads"], "heads taken out of the model")

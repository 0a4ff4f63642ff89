"""TRL's own GRPOTrainer on this environment, by one argument: two steps of SmolLM2 on the CPU, in a few minutes.

pip install 'profilegym[llm]' && profilegym model get smollm2
python examples/trl_environment.py
"""

import tempfile

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import qwen3_chat_template

import profilegym as pg
from profilegym.agents.models.smollm2 import weights

environments = pg.trl.environment_factory(data="world:users=20/train", max_searches=2)
tokenizer = AutoTokenizer.from_pretrained(weights())
tokenizer.chat_template = qwen3_chat_template  # of the same form as its own, and with tools

with tempfile.TemporaryDirectory() as folder:
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(weights(), dtype="float32"),
        args=GRPOConfig(
            folder,
            max_steps=2,
            per_device_train_batch_size=2,
            num_generations=2,
            max_completion_length=16,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            gradient_checkpointing=False,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(environments.questions()),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=8, task_type="CAUSAL_LM", layers_to_transform=[28, 29]),
        environment_factory=environments,
    )
    trainer.train()

for step in trainer.state.log_history[:2]:
    print(f"step {step['step']}: reward {step['rewards/ProfileQA/mean']:.2f}, loss {step['loss']:.4f}")

"""Conversations in LoCoMo's form, made up for tests."""

from typing import Any


def turn(turn_id: str, speaker: str, text: str, **more: Any) -> dict[str, Any]:
    return {"dia_id": turn_id, "speaker": speaker, "text": text} | more


def asked(category: int, question: str = "Where is the boat?", **more: Any) -> dict[str, Any]:
    return {"category": category, "question": question, "answer": "in Ghent", "evidence": ["D1:1"]} | more


def conversation(sample: str, *questions: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Ines and Tom talk twice; their tenth session stands before the second in the file."""
    talk = {
        "speaker_a": "Ines",
        "speaker_b": "Tom",
        "session_1_date_time": "12:05 am on 8 May, 2023",
        "session_1": [
            turn("D1:1", "Ines", "My boat lies in Ghent.", blip_caption="a photo of a red boat", img_url=["x"]),
            turn("D1:2", "Tom", "I would like to see it."),
        ],
        "session_10_date_time": "1:56 pm on 20 October, 2023",
        "session_10": [turn("D10:1", "Tom", "The boat was sold.")],
        "session_2_date_time": "12:30 pm on 9 May, 2023",
        "session_2": [turn("D2:1", "Ines", "I painted the boat.")],
        "session_11_date_time": "1:00 pm on 21 October, 2023",  # the published file has dates of sessions it lacks
    }
    return {"sample_id": sample, "conversation": talk | more, "qa": list(questions or [asked(4)])}

"""The workers of one training: who they are, how they find each other, what they tell, what memory they have."""

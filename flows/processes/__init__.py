"""The processes of a command: who they are, who watches them, what they tell, which servers they need."""
